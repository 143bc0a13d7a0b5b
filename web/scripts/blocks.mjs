/** Returns the anchor that GitHub gives a heading. */
export const slug = (heading) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

/** Returns the fenced code blocks of a Markdown text: the language, the code, and the number of lines before the code. */
export function blocks(markdown) {
  return [...markdown.matchAll(/^```(\w*)[^\n]*\n([\s\S]*?)^```$/gm)].map(
    ({ 0: all, 1: language, 2: code, index }) => ({
      language,
      code,
      line: markdown.slice(0, index + all.indexOf('\n') + 1).split('\n').length - 1,
    }),
  )
}
