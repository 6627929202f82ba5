/** What other files begin with, and what they are. Texts are compared in lower case, behind white space. */
const BEGINNINGS: readonly (readonly [start: string, what: string])[] = [
  ['version https://git-lfs', 'a Git LFS pointer, not the file that it points to: run `git lfs pull`'],
  ['<!doctype html', 'a web page, probably an error page that was saved instead of the file'],
  ['<html', 'a web page, probably an error page that was saved instead of the file'],
  ['<?xml', 'an XML document, probably an error that was saved instead of the file'],
  ['{', 'a JSON text'],
  ['\x1f\x8b', 'compressed with gzip: unpack it first'],
  ['\x89hdf', 'an HDF5 file (Keras)'],
  ['\x93numpy', 'a NumPy array'],
  ['gguf', 'a GGUF file'],
];

const TAR_MARK_AT = 257;

/** What a file is that is not the one expected, in words that continue "is …"; undefined when nothing is known. */
export function describeForeignFile(head: Uint8Array): string | undefined {
  if (head.byteLength === 0) return 'empty';
  const text = new TextDecoder('latin1').decode(head);
  const start = text.trimStart().toLowerCase();
  const known = BEGINNINGS.find(([beginning]) => start.startsWith(beginning));
  if (known !== undefined) return known[1];
  if (text[8] === '{' && text.slice(4, 8) === '\0\0\0\0') return 'a safetensors file';
  return text.startsWith('ustar', TAR_MARK_AT) ? 'a tar archive' : undefined;
}
