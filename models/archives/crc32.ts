/**
 * CRC-32 of ISO 3309 as zip uses it: reflected polynomial 0xEDB88320, start and final value inverted.
 */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** The checksum of these bytes, 0 … 2³² − 1. */
export function crc32(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (let index = 0; index < bytes.length; index += 1) {
    value = (value >>> 8) ^ (TABLE[(value ^ (bytes[index] as number)) & 0xff] as number);
  }
  return (value ^ 0xffffffff) >>> 0;
}
