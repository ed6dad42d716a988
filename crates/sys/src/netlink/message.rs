//! One netlink message: building it, and walking the attributes of an answer (netlink(7), rtnetlink(7)).

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// Both flag bits of an attribute's type (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
const TYPE_FLAGS: u16 = (libc::NLA_F_NESTED | libc::NLA_F_NET_BYTEORDER) as u16;

/// A request under construction: its header, a fixed part, then attributes. Length and sequence number are filled in
/// when it is sent.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
    label: &'static str,
}

impl Message {
    /// A request of `kind` (RTM_*, NFT_MSG_*) with the flags besides NLM_F_REQUEST and NLM_F_ACK. `label` names it in an
    /// error: "add a route".
    pub fn new(label: &'static str, kind: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes, label }
    }

    /// What it does.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// Appends fixed bytes (`struct ifinfomsg` and the like), padded to four.
    #[must_use]
    pub fn body(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Appends an attribute. Values of this module are short; one beyond 65,531 bytes is cut.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let value = &value[..value.len().min(usize::from(u16::MAX) - ATTRIBUTE_HEADER)];
        let length = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends a number in the machine's byte order.
    #[must_use]
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends a number in network byte order, as nftables has them.
    #[must_use]
    pub fn network_number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends a text, NUL-terminated.
    #[must_use]
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Appends an attribute that holds what `build` appends.
    #[must_use]
    pub fn nested(mut self, kind: u16, build: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        let mut built = build(self);
        let length = (built.bytes.len() - start).min(usize::from(u16::MAX)) as u16;
        built.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        built
    }

    /// The bytes as sent, with NLM_F_REQUEST and `flags` added.
    pub(crate) fn finish(mut self, sequence: u32, flags: u16) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        let all = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | libc::NLM_F_REQUEST as u16 | flags;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&all.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// The parts of one received message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// Splits a datagram into its messages; stops at the first that does not fit.
pub(crate) fn split(mut datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let header = datagram.get(..HEADER)?;
        let length = u32::from_ne_bytes(header[0..4].try_into().ok()?) as usize;
        let received = Received {
            kind: u16::from_ne_bytes(header[4..6].try_into().ok()?),
            sequence: u32::from_ne_bytes(header[8..12].try_into().ok()?),
            payload: datagram.get(HEADER..length)?,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    })
}

/// Walks attributes: type (without its flag bits) and value. Stops at the first that does not fit.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Of `bytes`, which start with an attribute.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The first value of type `kind`.
    pub fn value(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The number of type `kind`, in the machine's byte order.
    pub fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value(kind)?.try_into().ok()?))
    }

    /// The text of type `kind`, without its NUL.
    pub fn text(&self, kind: u16) -> Option<&'a str> {
        let value = self.value(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.get(..ATTRIBUTE_HEADER)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !TYPE_FLAGS;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_built_is_read_back() {
        let bytes = Message::new("test", 7, 0x400)
            .body(&[1, 2, 3])
            .text(3, "eth0")
            .nested(18, |m| m.number(1, 42).attribute(2, b"abc"))
            .finish(9, 4);
        let received = split(&bytes).next().unwrap();
        assert_eq!((received.kind, received.sequence), (7, 9));
        assert_eq!(bytes[6..8], (0x400_u16 | 1 | 4).to_ne_bytes());
        let attributes = Attributes::of(&received.payload[4..]);
        assert_eq!(attributes.text(3), Some("eth0"));
        let inner = Attributes::of(attributes.value(18).unwrap());
        assert_eq!(inner.number(1), Some(42));
        assert_eq!(inner.value(2), Some(b"abc".as_slice()));
        assert_eq!(split(&bytes).count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for received in split(&bytes) {
                prop_assert!(received.payload.len() < bytes.len());
            }
            let total: usize = Attributes::of(&bytes).map(|(_, value)| value.len()).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
