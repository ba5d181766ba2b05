//! Whether a JPEG or WebP file was cut off: their decoders fill what is missing with grey, and report nothing. The
//! decoders of the other formats report it themselves.

/// Whether the file ends before its picture does.
pub fn ends_early(bytes: &[u8]) -> bool {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => !has_end_of_image(bytes),
        [b'R', b'I', b'F', b'F', a, b, c, d, b'W', b'E', b'B', b'P', ..] => {
            // The size of what follows the field, without the byte that pads an odd one.
            let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            bytes.len() - 8 < size
        }
        _ => false,
    }
}

/// Whether a JPEG has its EOI marker. Segments are passed over by their lengths, because a thumbnail in one
/// has a marker of its own.
fn has_end_of_image(bytes: &[u8]) -> bool {
    const TEM: u8 = 0x01;
    const RST_TO_SOI: std::ops::RangeInclusive<u8> = 0xd0..=0xd8;
    const EOI: u8 = 0xd9;
    let mut at = 2;
    while at + 1 < bytes.len() {
        // Between markers lies entropy-coded data, in which 0xff is followed by 0.
        let marker = match (bytes[at], bytes[at + 1]) {
            (0xff, 0xff) => {
                at += 1;
                continue;
            }
            (0xff, marker) if marker != 0 => marker,
            _ => {
                at += 1;
                continue;
            }
        };
        at += 2;
        match marker {
            EOI => return true,
            TEM => {}
            marker if RST_TO_SOI.contains(&marker) => {}
            _ => {
                let Some(length) = bytes.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
    false
}
