//! Sets and maps and their elements.

use crate::netlink::wire::Attrs;

/// Measured best: a message's element list must stay under 64 KiB.
pub const MAX_ELEMENTS_PER_MESSAGE: usize = 400;

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_TIMEOUT: u32 = 0x10;
const NFT_SET_EVAL: u32 = 0x20;
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
const NFTA_LIST_TABLE: u16 = 1;
const NFTA_LIST_SET: u16 = 2;
const NFTA_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_ELEM_KEY: u16 = 1;
const NFTA_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// Type numbers of the `nft` command; the kernel only stores them, they make `nft list` readable. A concatenation
/// has six bits for each part.
pub mod ty {
    pub const IPV4: u32 = 7;
    pub const PROTO: u32 = 12;
    pub const PORT: u32 = 13;
    pub const MARK: u32 = 19;

    pub const fn concat<const N: usize>(parts: [u32; N]) -> u32 {
        let (mut i, mut out) = (0, 0);
        while i < N {
            out = (out << 6) | parts[i];
            i += 1;
        }
        out
    }
}

/// What a map's elements carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSpec {
    Value { ty: u32, len: u32 },
    Verdict,
}

/// A set, or a map when `data` is given. Each part of a key takes a multiple of four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSpec<'a> {
    pub name: &'a str,
    pub key_ty: u32,
    pub key_len: u32,
    pub data: Option<DataSpec>,
    /// Rules add to it, with a timeout; at most that many elements.
    pub dynamic: Option<u32>,
}

impl<'a> SetSpec<'a> {
    pub fn set(name: &'a str, key_ty: u32, key_len: u32) -> Self {
        Self {
            name,
            key_ty,
            key_len,
            data: None,
            dynamic: None,
        }
    }

    pub fn map(name: &'a str, key_ty: u32, key_len: u32, data_ty: u32, data_len: u32) -> Self {
        let data = Some(DataSpec::Value {
            ty: data_ty,
            len: data_len,
        });
        Self {
            name,
            key_ty,
            key_len,
            data,
            dynamic: None,
        }
    }

    pub fn dynamic_map(name: &'a str, key: (u32, u32), data: (u32, u32), max_elements: u32) -> Self {
        Self {
            dynamic: Some(max_elements),
            ..Self::map(name, key.0, key.1, data.0, data.1)
        }
    }

    pub fn verdict_map(name: &'a str, key_ty: u32, key_len: u32) -> Self {
        Self {
            name,
            key_ty,
            key_len,
            data: Some(DataSpec::Verdict),
            dynamic: None,
        }
    }
}

/// What one element maps to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    /// A set has none.
    None,
    Value(Vec<u8>),
    Goto(String),
    Drop,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    pub key: Vec<u8>,
    pub data: Data,
}

impl Element {
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            data: Data::None,
        }
    }

    pub fn new(key: impl Into<Vec<u8>>, data: Data) -> Self {
        Self {
            key: key.into(),
            data,
        }
    }
}

pub(super) fn encode_spec(a: &mut Attrs<'_>, table: &str, id: u32, spec: &SetSpec<'_>) {
    let mut flags = 0;
    if spec.data.is_some() {
        flags |= NFT_SET_MAP;
    }
    if spec.dynamic.is_some() {
        flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT;
    }
    a.str(NFTA_SET_TABLE, table);
    a.str(NFTA_SET_NAME, spec.name);
    a.be32(NFTA_SET_FLAGS, flags);
    a.be32(NFTA_SET_KEY_TYPE, spec.key_ty);
    a.be32(NFTA_SET_KEY_LEN, spec.key_len);
    match spec.data {
        Some(DataSpec::Value { ty, len }) => {
            a.be32(NFTA_SET_DATA_TYPE, ty);
            a.be32(NFTA_SET_DATA_LEN, len);
        }
        Some(DataSpec::Verdict) => a.be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT),
        None => {}
    }
    if let Some(size) = spec.dynamic {
        a.nest(NFTA_SET_DESC, |a| a.be32(NFTA_SET_DESC_SIZE, size));
    }
    a.be32(NFTA_SET_ID, id);
}

pub(super) fn encode_elements(a: &mut Attrs<'_>, table: &str, set: &str, elements: &[Element]) {
    a.str(NFTA_LIST_TABLE, table);
    a.str(NFTA_LIST_SET, set);
    a.nest(NFTA_LIST_ELEMENTS, |a| {
        for element in elements {
            a.nest(NFTA_LIST_ELEM, |a| {
                a.nest(NFTA_ELEM_KEY, |a| a.bytes(NFTA_DATA_VALUE, &element.key));
                match &element.data {
                    Data::None => {}
                    Data::Value(value) => {
                        a.nest(NFTA_ELEM_DATA, |a| a.bytes(NFTA_DATA_VALUE, value));
                    }
                    Data::Goto(chain) => a.nest(NFTA_ELEM_DATA, |a| verdict(a, -4, Some(chain))),
                    Data::Drop => a.nest(NFTA_ELEM_DATA, |a| verdict(a, 0, None)),
                }
            });
        }
    });
}

/// A verdict as data: `code` is negative for jumps, else netfilter's own number.
pub(super) fn verdict(a: &mut Attrs<'_>, code: i32, chain: Option<&str>) {
    a.nest(NFTA_DATA_VERDICT, |a| {
        a.be32(NFTA_VERDICT_CODE, code as u32);
        if let Some(chain) = chain {
            a.str(NFTA_VERDICT_CHAIN, chain);
        }
    });
}
