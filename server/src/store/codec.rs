//! How records are written as bytes: numbers in little-endian order, and texts with their length before them.

/// A list of records. Each has its length, its kind and the number of its namespace before it.
#[derive(Debug, Default)]
pub struct Records(pub(super) Vec<u8>);

/// Writes the contents of one record.
#[derive(Debug)]
pub struct Encoder<'a>(&'a mut Vec<u8>);

/// Reads what an [`Encoder`] wrote. Every method returns `None` if the bytes are something else.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a>(&'a [u8]);

/// A record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// What it is.
    pub kind: u8,
    /// The number of its namespace in the store.
    pub namespace: u16,
    /// Its contents.
    pub contents: Decoder<'a>,
    /// All of it, as it was written.
    pub raw: &'a [u8],
}

/// Bytes before the contents of a record.
const HEAD: usize = 7;

// === impl Records ===

impl Records {
    /// Adds a record.
    pub fn add(&mut self, kind: u8, namespace: u16, write: impl FnOnce(&mut Encoder<'_>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        self.0.push(kind);
        self.0.extend_from_slice(&namespace.to_le_bytes());
        write(&mut Encoder(&mut self.0));
        // Nothing that the server stores comes near to 4 GB.
        let length = u32::try_from(self.0.len() - start - HEAD).unwrap_or(u32::MAX);
        self.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds records as they were written before.
    pub fn add_raw(&mut self, raw: &[u8]) {
        self.0.extend_from_slice(raw);
    }

    /// Their length. Bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads a list of records. The last item is `None` if what follows is not a record.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = split(bytes);
        bytes = record.map_or(&[], |record| &bytes[record.raw.len()..]);
        Some(record)
    })
}

/// Divides a list of records into lists of at most `max` bytes. A longer record is a list of its own.
pub(super) fn divide(mut bytes: &[u8], max: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut end = 0;
        while let Some(record) = split(&bytes[end..]).filter(|record| end == 0 || end + record.raw.len() <= max) {
            end += record.raw.len();
        }
        let (list, rest) = bytes.split_at(end);
        bytes = rest;
        (!list.is_empty()).then_some(list)
    })
}

fn split(bytes: &[u8]) -> Option<Record<'_>> {
    let mut head = Decoder(bytes);
    let (length, kind, namespace) = (head.u32()? as usize, head.u8()?, head.u16()?);
    let raw = bytes.get(..HEAD.checked_add(length)?)?;
    Some(Record { kind, namespace, contents: Decoder(&raw[HEAD..]), raw })
}

// === impl Encoder ===

impl Encoder<'_> {
    /// Writes a number.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Writes a number.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Writes a number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Writes a number that may be missing.
    pub fn optional(&mut self, value: Option<u64>) -> &mut Self {
        self.u8(u8::from(value.is_some()));
        value.map(|value| self.u64(value));
        self
    }

    /// Writes a text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// Writes a text that may be missing.
    pub fn optional_text(&mut self, value: Option<&str>) -> &mut Self {
        self.u8(u8::from(value.is_some()));
        value.map(|value| self.text(value));
        self
    }

    /// Writes bytes whose number the reader knows.
    pub fn array<const N: usize>(&mut self, bytes: &[u8; N]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Writes how many items follow.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

// === impl Decoder ===

impl<'a> Decoder<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a number.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Reads a number.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    /// Reads a number.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Reads a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Reads whether something is so.
    pub fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Reads a number that may be missing.
    pub fn optional(&mut self) -> Option<Option<u64>> {
        Some(if self.flag()? { Some(self.u64()?) } else { None })
    }

    /// Reads a text.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// Reads as many bytes as are asked for.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Reads a text that may be missing.
    pub fn optional_text(&mut self) -> Option<Option<&'a str>> {
        Some(if self.flag()? { Some(self.text()?) } else { None })
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns a number that differs if any bit of the bytes differs by accident.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut words = bytes.chunks_exact(8);
    let mut sum = bytes.len() as u64 ^ FACTOR;
    let mut mix = |word: u64| {
        sum = (sum ^ word).wrapping_mul(FACTOR);
        sum ^= sum >> 29;
    };
    for word in &mut words {
        mix(word.try_into().map_or(0, u64::from_le_bytes));
    }
    words.remainder().iter().for_each(|byte| mix(u64::from(*byte)));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Records {
        let mut all = Records::default();
        all.add(3, 7, |one| {
            one.u8(1)
                .u32(2)
                .u64(3)
                .optional(Some(4))
                .optional(None)
                .text("five")
                .optional_text(Some(""))
                .count(6)
                .array(&[7, 8]);
        });
        all.add(4, 8, |_| {});
        all
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let all = written();
        let read: Vec<_> = records(&all.0).map(Option::unwrap).collect();
        let heads: Vec<_> = read.iter().map(|one| (one.kind, one.namespace)).collect();
        assert_eq!(heads, [(3, 7), (4, 8)]);
        let mut one = read[0].contents;
        assert_eq!((one.u8(), one.u32(), one.u64()), (Some(1), Some(2), Some(3)));
        assert_eq!((one.optional(), one.optional()), (Some(Some(4)), Some(None)));
        assert_eq!((one.text(), one.optional_text(), one.u32()), (Some("five"), Some(Some("")), Some(6)));
        assert_eq!(one.array(), Some([7, 8]));
        assert!(one.is_empty() && one.u8().is_none() && one.text().is_none());
    }

    #[test]
    fn a_list_is_divided_between_records() {
        let mut all = Records::default();
        for length in [10, 20, 500, 30, 5, 60] {
            all.add(1, 1, |one| {
                one.text(&"x".repeat(length));
            });
        }
        for max in [0, 50, 100, 1_000] {
            let lists: Vec<&[u8]> = divide(&all.0, max).collect();
            assert_eq!(lists.concat(), all.0, "{max}");
            assert!(lists.iter().all(|list| list.len() <= max || records(list).count() == 1), "{max}");
            assert!(lists.iter().all(|list| records(list).all(|one| one.is_some())), "{max}");
        }
        assert_eq!((divide(&all.0, 1_000).count(), divide(&all.0, 0).count(), divide(&[], 1).count()), (1, 6, 0));
    }

    #[test]
    fn what_is_cut_or_changed_is_not_a_record() {
        let all = written().0;
        for end in 1..all.len() - HEAD {
            assert!(records(&all[..end]).any(|one| one.is_none()), "{end}");
        }
        assert!(records(&[255; 20]).any(|one| one.is_none()), "a length that is too large");
        for bit in 0..all.len() * 8 {
            let mut changed = all.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(&changed), checksum(&all), "{bit}");
        }
        assert_ne!(checksum(&[]), checksum(&[0]));
    }
}
