/** A hand of cells that is being dragged, and the class it hovers over. Gallery and class panel share one. */
export class Drag {
  ids = $state.raw<readonly number[]>([]);
  x = $state(0);
  y = $state(0);
  over = $state<string | null>(null);

  get on(): boolean {
    return this.ids.length > 0;
  }

  begin(ids: readonly number[]): void {
    this.ids = ids;
    this.over = null;
  }

  move(x: number, y: number): void {
    this.x = x;
    this.y = y;
    const target = document.elementFromPoint(x, y)?.closest<HTMLElement>("[data-drop]");
    this.over = target?.dataset.drop ?? null;
  }

  end(): void {
    this.ids = [];
    this.over = null;
  }
}
