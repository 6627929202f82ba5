/**
 * ONNX raw_data of INT4 and UINT4 tensors: element 2i in the low nibble of byte i, element 2i+1 in the high nibble; an odd
 * tail is padded with 0.
 */

/** Packs codes −8…7 or 0…15; throws RangeError for any other. */
export function packNibbles(codes: ArrayLike<number>): Uint8Array {
  const packed = new Uint8Array(Math.ceil(codes.length / 2));
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index] as number;
    if (!Number.isInteger(code) || code < -8 || code > 15) throw new RangeError(`${code} at ${index} is no 4-bit code`);
    const byte = index >> 1;
    packed[byte] = (packed[byte] as number) | ((code & 15) << (index % 2 === 0 ? 0 : 4));
  }
  return packed;
}

/** The `count` codes in `packed`, sign-extended when `signed`. */
export function unpackNibbles(packed: Uint8Array, count: number, signed: boolean): Int8Array {
  if (packed.length !== Math.ceil(count / 2))
    throw new RangeError(`${packed.length} bytes do not hold ${count} nibbles`);
  const codes = new Int8Array(count);
  for (let index = 0; index < count; index += 1) {
    const nibble = ((packed[index >> 1] as number) >> (index % 2 === 0 ? 0 : 4)) & 15;
    codes[index] = signed && nibble > 7 ? nibble - 16 : nibble;
  }
  return codes;
}
