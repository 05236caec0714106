/*
 * Adds the cells that marrowscope found to the open image, with their classes, colours and scores. QuPath 0.4 or later.
 *
 *   marrowscope detect real my_slides --format geojson --out found
 *
 * Copy found/geojson into the folder of the QuPath project, open this file in the script editor, and run it; or
 * "Run for project" for many images. The image NAME.jpg takes its cells from geojson/NAME.geojson.
 *
 * Running it again adds nothing twice: each cell keeps its id, and what was reclassified meanwhile stays as it is.
 */
import qupath.lib.io.PathIO
import static qupath.lib.scripting.QP.*

def lowestScore = 0.0

def file = new File(buildFilePath(PROJECT_BASE_DIR, 'geojson', getCurrentImageNameWithoutExtension() + '.geojson'))
if (!file.isFile()) {
    println "No cells: ${file} is not there. Copy the folder geojson of a marrowscope run into the project."
    return
}

def known = getAllObjects(false).collect { it.getID() } as Set
def cells = PathIO.readObjects(file).findAll {
    !known.contains(it.getID()) && it.getMeasurementList().get('score') >= lowestScore
}
addObjects(cells)
fireHierarchyUpdate()

println "${cells.size()} cells added to ${getCurrentImageName()}"
cells.countBy { it.getPathClass().toString() }.sort().each { name, count -> println "  ${name}: ${count}" }
