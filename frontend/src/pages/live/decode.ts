/** From JPEG to something that can be drawn, with no more work than the size on the screen asks for. */

export type Drawable = ImageBitmap | VideoFrame;

/** Half the pixels each way are enough where the picture is shown no wider than this share of its width. */
const HALF_IS_ENOUGH = 0.56;

/**
 * Decode a JPEG. width: of the picture; shown: pixels it will have on the screen.
 *
 * Where half the size is enough and the browser can (WebCodecs, secure pages alone), the JPEG is decoded at half size:
 * the inverse transforms are then a quarter of the work.
 */
export async function decodePicture(jpeg: Uint8Array<ArrayBuffer>, width: number, height: number, shown: number): Promise<Drawable> {
  if (typeof ImageDecoder !== "undefined" && shown <= HALF_IS_ENOUGH * width) {
    const decoder = new ImageDecoder({ data: jpeg, type: "image/jpeg", desiredWidth: Math.floor(width / 2), desiredHeight: Math.floor(height / 2) });
    try {
      return (await decoder.decode()).image;
    } finally {
      decoder.close();
    }
  }
  return createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
}
