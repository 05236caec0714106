/** Light, dark, or as the system has it; remembered on this machine. */
export type Choice = "auto" | "light" | "dark";
const KEY = "marrowscope.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function remembered(): Choice {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}

class Theme {
  choice = $state<Choice>(remembered());
  #systemDark = $state(system.matches);

  constructor() {
    system.addEventListener("change", () => {
      this.#systemDark = system.matches;
      this.#show();
    });
    this.#show();
  }

  /** What is shown now. */
  get dark(): boolean {
    return this.choice === "auto" ? this.#systemDark : this.choice === "dark";
  }

  set(choice: Choice): void {
    this.choice = choice;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // Storage may be forbidden; the choice then lasts until the page is closed.
    }
    this.#show();
  }

  /** The other of light and dark. */
  toggle(): void {
    this.set(this.dark ? "light" : "dark");
  }

  #show(): void {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
  }
}

export const theme = new Theme();
