"""The report's words in both tongues, and its sentences.

English and Chinese stand side by side here, so that neither is forgotten. Names of classes are those of the scheme;
Chinese names that the lexicon lacks are given here, in the terms that haematologists use.
"""

from typing import NamedTuple

from marrowscope.cells.stop_rule import Standing
from marrowscope.cells.taxonomy import CellClass, Lineage
from marrowscope.report import content as c


class Said(NamedTuple):
    """One thing in English and in Chinese."""

    en: str
    zh: str

    def line(self, language: c.Language, between: str = "  ") -> str:
        """In one line."""
        if language is c.Language.ENGLISH:
            return self.en
        if language is c.Language.CHINESE:
            return self.zh
        return self.en if self.en == self.zh else f"{self.en}{between}{self.zh}"


_CHINESE_NAMES = {
    "PROERYTHRO": "原始红细胞",
    "ERYTHRO": "有核红细胞",
    "MONO": "成熟单核细胞",
    "PLASMA": "成熟浆细胞",
    "BASO": "嗜碱性粒细胞",
    "EOS": "嗜酸性粒细胞",
    "NEU": "中性粒细胞",
    "EOS_MYELO": "嗜酸性中幼粒细胞",
    "EOS_META": "嗜酸性晚幼粒细胞",
    "MAST": "肥大细胞",
    "MEGAKARYO": "巨核细胞",
    "MACRO": "巨噬细胞",
    "BLAST": "原始细胞(类型未定)",
    "MITOSIS": "核分裂象",
    "SMUDGE": "涂抹细胞",
    "ARTEFACT": "人工假象",
    "WBC": "白细胞",
    "RBC": "红细胞",
    "PLATELET": "血小板",
    "OTHER": "分类不明细胞",
}

LINEAGES = {
    Lineage.GRANULOCYTIC: Said("Granulocytic", "粒细胞系"),
    Lineage.ERYTHROID: Said("Erythroid", "红细胞系"),
    Lineage.LYMPHOID: Said("Lymphoid", "淋巴细胞系"),
    Lineage.MONOCYTIC: Said("Monocytic", "单核细胞系"),
    Lineage.PLASMA: Said("Plasma cells", "浆细胞系"),
    Lineage.MEGAKARYOCYTIC: Said("Megakaryocytic", "巨核细胞系"),
    Lineage.OTHER: Said("Other", "其他"),
}

INDICES = {
    "M:E": Said("Myeloid : erythroid (M:E)", "粒红比值 (M:E)"),
    "I:Mg": Said("Immature : mature granulocytes (I:Mg)", "幼稚/成熟粒细胞比 (I:Mg)"),
    "I:Me": Said("Immature : mature erythroblasts (I:Me)", "早期/晚期幼红细胞比 (I:Me)"),
    "pM:E": Said("Proliferative-pool M:E", "增殖池粒红比值"),
}

_FORMULAS = {
    "M:E": "粒细胞及其前体 : 有核红细胞",
    "I:Mg": "原始至晚幼粒细胞 : 杆状核及分叶核粒细胞",
    "I:Me": "原始及早幼红细胞 : 中幼及晚幼红细胞",
    "pM:E": "原始至中幼粒细胞 : 有核红细胞",
}
_WITH_MONOCYTES = "粒细胞、单核细胞及其前体 : 有核红细胞"

ROLES = {
    "haematologist": Said("haematologist", "血液科医师"),
    "technician": Said("technician", "检验技师"),
    "admin": Said("administrator", "管理员"),
    "reader": Said("reader", "查阅者"),
}

CUTOFFS = {
    "blasts": Said("blasts", "原始细胞"),
    "plasma cells": Said("plasma cells", "浆细胞"),
}

LABELS = {
    "title": Said("Bone marrow aspirate: cytology report", "骨髓细胞学检验报告"),
    "specimen": Said("Specimen", "标本号"),
    "patient": Said("Patient code", "患者编号"),
    "material": Said("Material", "标本类型"),
    "taken": Said("Taken on", "采集日期"),
    "slides": Said("Slides", "涂片"),
    "fields": Said("Fields kept", "采集视野"),
    "counted": Said("Cells counted", "计数细胞"),
    "reviewed": Said("Reviewed by a person", "人工复核"),
    "version": Said("Version", "版本"),
    "page": Said("page", "页"),
    "draft": Said("DRAFT", "草稿"),
    "not_signed": Said("Not signed. Not for clinical use.", "未签发，不得用于临床。"),
    "signed_state": Said("Signed", "已签发"),
    "amended": Said("AMENDED", "更正报告"),
    "reason": Said("Reason", "更正原因"),
    "differential": Said("Differential of nucleated cells", "有核细胞分类计数"),
    "cell": Said("Cell", "细胞"),
    "n": Said("n", "个数"),
    "percent": Said("%", "%"),
    "interval": Said("95 % interval", "95% 区间"),
    "usual": Said("Reference", "参考范围"),
    "together": Said("together", "合计"),
    "none_seen": Said("Counted, none seen", "计数为零"),
    "outside": Said("Seen, outside the differential", "所见 (不计入分类)"),
    "total": Said("All counted cells", "计数细胞总数"),
    "legend": Said(
        "Dot: share. Line: exact 95 % interval (Clopper-Pearson). Bar: reference range. Bold arrow: the whole interval "
        "lies outside; arrow in brackets: the share does, chance may explain it.",
        "圆点：百分比；横线：95% 精确置信区间 (Clopper-Pearson)；灰条：参考范围。"
        "粗箭头：区间全部超出；括号箭头：仅点值超出，可能为偶然。",
    ),
    "indices": Said("Indices", "比值"),
    "index_legend": Said(
        "Exact 95 % intervals of the proportion, carried over to the ratio.", "区间由比例的精确置信区间换算。"
    ),
    "enough": Said("Enough counted?", "计数是否充分"),
    "yes": Said("Enough was counted", "计数充分"),
    "no": Said("Count more", "需继续计数"),
    "stop_at_limit": Said("Counting stopped at its limit", "已达计数上限"),
    "cautions": Said("Please note", "注意事项"),
    "conclusion": Said("Conclusion", "结论"),
    "comments": Said("Comments", "备注"),
    "no_conclusion": Said("No conclusion was written.", "未填写结论。"),
    "pictures": Said("Fields", "视野图像"),
    "field": Said("Field", "视野"),
    "slide": Said("slide", "涂片"),
    "gallery": Said("Cells", "细胞图谱"),
    "again": Said("dashed: counted in another field", "虚线：已在其他视野计数"),
    "gallery_legend": Said(
        "In brackets: its cells in this count. In the corner: the field.",
        "括号内为本次计数的细胞数；角标为视野号。",
    ),
    "unreviewed_mark": Said("*: not reviewed by a person.", "*：未经人工复核。"),
    "no_picture": Said("picture not available", "图像缺失"),
    "method": Said("Method", "方法"),
    "method_text": Said(
        "Cells were found and named by a detector and reviewed as stated above.",
        "细胞由检测模型识别分类，人工复核情况如上。",
    ),
    "model": Said("Model", "模型"),
    "scheme": Said("Class scheme", "分类方案"),
    "fields_by": Said("fields", "个视野"),
    "by_hand": Said("fields without a model", "个视野未用模型"),
    "references": Said("Reference ranges", "参考范围来源"),
    "no_references": Said("none in force", "未设置"),
    "support": Said(
        "Decision support. The percentages come from software; the diagnosis is that of the person who signs.",
        "本报告由软件辅助决策，百分比由软件计算；诊断由签名医师负责。",
    ),
    "signature": Said("Signature", "签名"),
    "signer": Said("Printed name", "签名人"),
    "role": Said("Role", "职务"),
    "signed_at": Said("Signed", "签名时间"),
    "local": Said("local time", "当地时间"),
    "meaning": Said("Meaning of the signature", "签名含义"),
    "content": Said("Content SHA-256", "内容校验 SHA-256"),
    "made": Said("Made", "生成时间"),
    "telephone": Said("Tel.", "电话"),
}

_CAUTIONS = {
    c.CautionKind.FEW_CELLS: Said(
        "Few cells: {count} counted, a full differential has {total}.",
        "细胞数少：计数 {count} 个，完整分类需 {total} 个。",
    ),
    c.CautionKind.ONE_SLIDE: Said(
        "One slide only; at least two smears are asked for.", "仅一张涂片；建议至少两张涂片。"
    ),
    c.CautionKind.CELLS_UNREVIEWED: Said(
        "{count} of {total} cells were not reviewed by a person.", "{total} 个细胞中 {count} 个未经人工复核。"
    ),
    c.CautionKind.CLASS_UNREVIEWED: Said("Nobody reviewed any cell of: {names}.", "以下类别均未经人工复核：{names}。"),
    c.CautionKind.MANY_UNIDENTIFIED: Said(
        "{count} of {total} cells are unidentified: every other percentage is too low.",
        "{total} 个细胞中 {count} 个分类不明，其余百分比均偏低。",
    ),
    c.CautionKind.UNKNOWN_CLASS: Said(
        "{count} cells of class {about}, which the class scheme no longer has, were left out.",
        "{count} 个 {about} 类细胞不在当前分类方案中，未计入。",
    ),
    c.CautionKind.UNPRINTABLE: Said(
        "These characters cannot be printed; the PDF gives their numbers: {about}",
        "以下字符无法打印，PDF 中以编号代替：{about}",
    ),
    c.CautionKind.SETTING: Said("A setting could not be used: {about}", "某项设置无法使用：{about}"),
}

_STANDING = {
    Standing.BELOW: Said("{name} {share}: below {at} %.", "{name} {share}：低于 {at}%。"),
    Standing.ABOVE: Said("{name} {share}: above {at} %.", "{name} {share}：高于 {at}%。"),
    Standing.STRADDLES: Said("{name} {share} straddles {at} %: count more.", "{name} {share} 跨越 {at}%：需继续计数。"),
}


def chinese_name(cell: CellClass) -> str:
    """The scheme's own Chinese name, else the one given here, else the English name."""
    return cell.chinese or _CHINESE_NAMES.get(cell.code) or cell.name


def number(value: float | None, decimals: int = 1) -> str:
    """A number as the report prints it; a dash for none."""
    return "–" if value is None else f"{value:.{decimals}f}"


def interval(low: float, high: float, decimals: int = 1) -> str:
    """`16.0–23.1`."""
    return f"{low:.{decimals}f}–{high:.{decimals}f}"


def share_text(percent: float | None, low: float, high: float) -> str:
    """`19.4 % (16.0–23.1)`."""
    return "–" if percent is None else f"{percent:.1f} % ({interval(low, high)})"


def formula(line: c.IndexLine) -> Said:
    """What an index counts."""
    with_monocytes = line.key == "M:E" and "monocytes" in line.formula
    return Said(line.formula, _WITH_MONOCYTES if with_monocytes else _FORMULAS.get(line.key, line.formula))


def cutoff_name(name: str) -> Said:
    """The name of a cut-off; one that a lab made is said as it wrote it."""
    return CUTOFFS.get(name, Said(name, name))


def cautions_text(content: c.ReportContent) -> list[Said]:
    """The warnings in words; classes that nobody reviewed share one."""
    names = content.names
    unread = [x for x in content.cautions if x.kind is c.CautionKind.CLASS_UNREVIEWED]
    lists = [", ".join(f"{names[x.about][tongue]} ({x.count})" for x in unread) for tongue in (0, 1)]
    said = []
    for caution in content.cautions:
        if unread and caution.kind is c.CautionKind.CLASS_UNREVIEWED and caution is not unread[0]:
            continue
        en, zh = _CAUTIONS[caution.kind]
        values = {"count": caution.count, "total": caution.total, "about": caution.about}
        said.append(Said(en.format(names=lists[0], **values), zh.format(names=lists[1], **values)))
    return said


def cutoff_text(line: c.CutOffLine) -> Said:
    """How a share stands against its cut-off."""
    en, zh = _STANDING[line.standing]
    name, share = cutoff_name(line.name), share_text(line.percent, line.low, line.high)
    at = f"{line.at:g}"
    return Said(en.format(name=name.en, share=share, at=at), zh.format(name=name.zh, share=share, at=at))


def verdict_text(verdict: c.VerdictBlock) -> Said:
    """Whether to stop, and why, in one sentence."""
    counted = Said(
        f"{verdict.cells} cells in {verdict.fields} fields", f"{verdict.fields} 个视野共 {verdict.cells} 个细胞"
    )
    open_ones = [x for x in verdict.cutoffs if x.standing is Standing.STRADDLES]
    decided = "yes" if verdict.stop else "no"
    label = LABELS["stop_at_limit" if verdict.stop and open_ones else decided]
    planned = "" if verdict.cells >= verdict.planned_cells else f" of {verdict.planned_cells}"
    chinese = "" if verdict.cells >= verdict.planned_cells else f" (计划 {verdict.planned_cells} 个)"
    en = counted.en.replace(" cells", f"{planned} cells", 1)
    return Said(f"{label.en}: {en}.", f"{label.zh}：{counted.zh}{chinese}。")


def remarks(content: c.ReportContent) -> list[Said]:
    """What a reader must know of the whole report, where it travels as data and not as a page: one sentence each."""
    said = [LABELS["support"], verdict_text(content.verdict), *map(cutoff_text, content.verdict.cutoffs)]
    if (amended := content.amendment) is not None:
        n, why = amended.replaces, amended.reason
        said.insert(0, Said(f"AMENDED, replaces version {n}: {why}", f"更正报告，替代第 {n} 版：{why}"))
    said += cautions_text(content)
    method = content.method
    models = "; ".join(f"{x.name} (SHA-256 {x.digest[:12]})" for x in method.models)
    by = f"{method.software} {method.version}"
    said.append(Said(*(f"{by}. {text} {models}".rstrip() for text in LABELS["method_text"])))
    said += [Said(*(f"{text}: {x.name}: {x.source}" for text in LABELS["references"])) for x in content.references]
    return said
