/** Pictures on their way to a case: one after another, each with its progress. */

import { asError, csrf } from "$lib/api";
import type { KeptField } from "$lib/types";

export type Stage = "waiting" | "sending" | "detecting" | "kept" | "failed";

export interface Upload {
  key: number;
  name: string;
  bytes: number;
  stage: Stage;
  /** Share that was sent, 0..1. */
  sent: number;
  problem: string;
}

/** What may be sent at all; the station judges the content itself. */
export function acceptable(file: { name: string; size: number; type: string }, limit = 64 * 2 ** 20): string | null {
  if (!/\.(jpe?g|png|tiff?)$/i.test(file.name) && !/^image\/(jpeg|png|tiff)$/.test(file.type)) return `${file.name}: only JPEG, PNG and TIFF pictures can be kept.`;
  if (!file.size) return `${file.name}: the file is empty.`;
  return file.size > limit ? `${file.name}: larger than ${Math.round(limit / 2 ** 20)} MB.` : null;
}

/** Sends one picture. `fetch` cannot tell how far it is; XMLHttpRequest can. */
export function send(specimenId: number, slideId: number, file: File, progress: (sent: number) => void): Promise<KeptField> {
  return new Promise((kept, failed) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file);
    request.open("POST", `/api/specimens/${specimenId}/fields?slide_id=${slideId}`);
    for (const [name, value] of Object.entries(csrf())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.upload.onload = () => progress(1);
    request.onload = () => (request.status >= 200 && request.status < 300 ? kept(request.response as KeptField) : failed(asError(request.status, request.response)));
    request.onerror = () => failed(new TypeError("The station does not answer."));
    request.send(form);
  });
}
