/** OpenSeadragon for fields: pan and zoom of one large picture, the next one ready behind it. */

import OpenSeadragon from "openseadragon";
import type { Box } from "./cells";
import type { Lie } from "./overlay";

export interface FieldPicture {
  id: number;
  image_url: string;
  width: number;
  height: number;
}

/** OpenSeadragon would put a style sheet of its own into the page, which our content security policy refuses aloud. */
function keepStylesOut(): void {
  const name = "data-openseadragon-mobile-css";
  if (document.querySelector(`style[${name}]`)) return;
  // It looks for a <style> with this mark; one outside of HTML is found, and means nothing.
  const place = document.createElementNS("urn:marrowscope:none", "style");
  place.setAttribute(name, "");
  document.head.append(place);
}

/** How many pictures are kept decoded: the one in sight, the next, the one before. 4000 x 3000 is 64 MB each. */
const KEPT = 3;

export class FieldViewer {
  readonly #viewer: OpenSeadragon.Viewer;
  #loaded = new Map<number, OpenSeadragon.TiledImage>();
  #wanted: FieldPicture | null = null;
  #coming = new Set<number>();
  #closed = false;

  constructor(
    element: HTMLElement,
    private readonly handlers: {
      /** The picture moved on the screen. */
      moved: () => void;
      clicked: (x: number, y: number) => void;
      failed: (field: FieldPicture) => void;
      shown: (field: FieldPicture) => void;
    },
  ) {
    keepStylesOut();
    this.#viewer = OpenSeadragon({
      element,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: false,
      animationTime: 0.22,
      springStiffness: 9,
      zoomPerScroll: 1.25,
      maxZoomPixelRatio: 4,
      minZoomImageRatio: 0.85,
      visibilityRatio: 0.4,
      imageLoaderLimit: 4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false, flickEnabled: false },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: false },
    });
    this.#viewer.addHandler("update-viewport", () => handlers.moved());
    // Keys are the review's.
    this.#viewer.addHandler("canvas-key", (event) => (event.preventDefaultAction = true));
    this.#viewer.addHandler("canvas-click", (event) => event.quick && handlers.clicked(event.position.x, event.position.y));
  }

  destroy(): void {
    this.#closed = true;
    this.#viewer.destroy();
  }

  /** Shows a field; at once where it was prefetched. */
  show(field: FieldPicture): void {
    this.#wanted = field;
    const ready = this.#loaded.get(field.id);
    if (ready) this.#reveal(field);
    else this.#load(field);
  }

  /** Makes a field ready behind the one in sight. */
  prefetch(field: FieldPicture): void {
    if (!this.#loaded.has(field.id)) this.#load(field);
  }

  #load(field: FieldPicture): void {
    if (this.#coming.has(field.id)) return;
    this.#coming.add(field.id);
    this.#viewer.addTiledImage({
      tileSource: { type: "image", url: field.image_url },
      x: 0,
      y: 0,
      width: 1,
      opacity: 0,
      preload: true,
      success: (event) => {
        this.#coming.delete(field.id);
        if (this.#closed) return;
        this.#loaded.set(field.id, (event as unknown as { item: OpenSeadragon.TiledImage }).item);
        if (this.#wanted?.id === field.id) this.#reveal(field);
        this.#forget();
      },
      error: () => {
        this.#coming.delete(field.id);
        if (!this.#closed) this.handlers.failed(field);
      },
    });
  }

  #reveal(field: FieldPicture): void {
    const image = this.#loaded.get(field.id);
    if (!image) return;
    // Newest use last.
    this.#loaded.delete(field.id);
    this.#loaded.set(field.id, image);
    for (const [id, other] of this.#loaded) other.setOpacity(id === field.id ? 1 : 0);
    this.#viewer.world.setItemIndex(image, this.#viewer.world.getItemCount() - 1);
    this.fit(true);
    this.handlers.shown(field);
  }

  #forget(): void {
    for (const [id, image] of this.#loaded) {
      if (this.#loaded.size <= KEPT) return;
      if (id === this.#wanted?.id) continue;
      this.#loaded.delete(id);
      this.#viewer.world.removeItem(image);
    }
  }

  get #image(): OpenSeadragon.TiledImage | undefined {
    return this.#wanted ? this.#loaded.get(this.#wanted.id) : undefined;
  }

  /** Where the field lies on the screen now; null while nothing is shown. */
  lie(): Lie | null {
    const image = this.#image;
    if (!image) return null;
    const origin = image.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const across = image.imageToViewerElementCoordinates(new OpenSeadragon.Point(1000, 0));
    return { scale: (across.x - origin.x) / 1000, dx: origin.x, dy: origin.y };
  }

  /** The whole field. */
  fit(immediately = false): void {
    const image = this.#image;
    if (image) this.#viewer.viewport.fitBounds(image.getBounds(), immediately);
  }

  zoom(factor: number): void {
    this.#viewer.viewport.zoomBy(factor);
    this.#viewer.viewport.applyConstraints();
  }

  /** Shows a box large, with its surroundings; where it is large already, the whole field again. */
  zoomTo(box: Box): void {
    const image = this.#image;
    if (!image) return;
    const room = 1.5 * Math.max(box[2] - box[0], box[3] - box[1]);
    const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    const bounds = image.imageToViewportRectangle(x - room, y - room, 2 * room, 2 * room);
    const now = this.#viewer.viewport.getBounds();
    if (now.width < bounds.width * 2.2 && now.containsPoint(bounds.getCenter())) this.fit();
    else this.#viewer.viewport.fitBounds(bounds);
  }

  /** Brings a box into sight, without a change of zoom; does nothing where it is seen whole. */
  reveal(box: Box): void {
    const image = this.#image;
    if (!image) return;
    const bounds = image.imageToViewportRectangle(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    const now = this.#viewer.viewport.getBounds();
    const inside = bounds.x >= now.x && bounds.y >= now.y && bounds.x + bounds.width <= now.x + now.width && bounds.y + bounds.height <= now.y + now.height;
    if (!inside) this.#viewer.viewport.panTo(bounds.getCenter());
  }

  /** For the measurement of frames alone. */
  get raw(): OpenSeadragon.Viewer {
    return this.#viewer;
  }
}
