use super::*;

fn whole() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/sample/chelsea.jpg");
    std::fs::read(path).expect("a sample")
}

fn check(bytes: &[u8]) -> Result<Header, Fault> {
    Decoder::default().check(bytes, u64::MAX)
}

/// Where the first scan's entropy code begins.
fn scan_start(jpeg: &[u8]) -> usize {
    let header = jpeg.windows(2).position(|w| w == [0xFF, 0xDA]);
    let header = header.expect("a scan");
    header + 2 + usize::from(u16::from_be_bytes([jpeg[header + 2], jpeg[header + 3]]))
}

#[test]
fn a_whole_jpeg_is_whole_with_or_without_a_trailer_and_fill_bytes() {
    let jpeg = whole();
    let size = check(&jpeg).expect("whole").size;
    assert_eq!(size, Size::new(451, 300));
    check(&[&jpeg[..], &[0, 1, 2, 0xFF, 0xC0]].concat()).expect("a trailer");
    let (start, end) = jpeg.split_at(jpeg.len() - 2);
    for before_the_end in [&[0xFF; 9][..], &[0; 4000], &[0x7F, 3, 9]] {
        check(&[start, before_the_end, end].concat()).expect("filled up");
    }
}

#[test]
fn a_jpeg_cut_anywhere_is_an_error_whatever_is_put_behind_it() {
    let jpeg = whole();
    for end in (0..jpeg.len())
        .step_by(97)
        .chain(jpeg.len() - 40..jpeg.len())
    {
        assert!(check(&jpeg[..end]).is_err(), "cut after {end} bytes");
        // the last byte of the scan may hold nothing but filling
        if end + 3 < jpeg.len() {
            let mended = [&jpeg[..end], &[0xFF, 0xD9]].concat();
            assert!(check(&mended).is_err(), "ended after {end} bytes");
        }
    }
    let short = check(&[&jpeg[..jpeg.len() / 2], &[0xFF, 0xD9]].concat());
    let text = short.expect_err("half of it").to_string();
    assert!(
        text.contains("scan 1 stops after") && text.contains("units of blocks"),
        "{text}"
    );
}

#[test]
fn a_height_that_is_not_the_data_s_is_an_error_both_ways() {
    let jpeg = whole();
    let frame = jpeg
        .windows(2)
        .position(|w| w == [0xFF, 0xC0])
        .expect("a frame header");
    for height in [44u16, 150, 900, 8192 + 300] {
        let mut other = jpeg.clone();
        other[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        let text = check(&other).expect_err("another height").to_string();
        let words = if height > 300 {
            "stops after"
        } else {
            "goes on for"
        };
        assert!(text.contains(words), "{height}: {text}");
    }
}

#[test]
fn what_is_not_read_is_named() {
    let jpeg = whole();
    let frame = jpeg
        .windows(2)
        .position(|w| w == [0xFF, 0xC0])
        .expect("a frame header");
    for (at, byte, words) in [
        (1, 0xC3, "lossless"),
        (1, 0xC5, "hierarchical"),
        (1, 0xC9, "arithmetic"),
        (4, 12, "12 bits a sample"),
        (9, 2, "2 components"),
        (11, 0x35, "3x5"),
    ] {
        let mut other = jpeg.clone();
        other[frame + at] = byte;
        let text = check(&other).expect_err(words).to_string();
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_limit_is_looked_at_before_anything_else_of_the_picture() {
    let fault = Decoder::default().check(&whole()[..scan_start(&whole()) - 20], 135_299);
    let text = fault.expect_err("above the limit").to_string();
    assert!(
        text.contains("135300 pixels") && text.contains("135299"),
        "{text}"
    );
}

#[test]
fn no_flipped_bit_makes_the_walk_or_a_decoder_panic() {
    let jpeg = include_bytes!("../../../tests/data/decoding/chroma_first.jpg");
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    let unseen = |_| Ok::<(), ()>(());
    let decoded = decoder.decode(jpeg, 1 << 20, unseen, &mut out);
    assert_eq!(
        decoded.expect("as it is").map(|d| d.0),
        Ok(Size::new(40, 47))
    );
    for bit in 0..jpeg.len() * 8 {
        let mut bytes = jpeg.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = decoder.decode(&bytes, 1 << 20, unseen, &mut out);
    }
}
