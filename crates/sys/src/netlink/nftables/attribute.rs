//! Names of numbers in `linux/netfilter/nf_tables.h` that the `libc` crate doesn't have.

pub(super) const LIST_ELEMENT: u16 = 1;

pub(super) const TABLE_NAME: u16 = 1;

pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const HOOK_NUMBER: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;

pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
pub(super) const RULE_USERDATA: u16 = 7;
/// Of libnftnl's user data, by which nft(8) knows a comment; NUL-terminated.
pub(super) const USERDATA_COMMENT: u8 = 0;

pub(super) const SET_TABLE: u16 = 1;
pub(super) const SET_NAME: u16 = 2;
pub(super) const SET_FLAGS: u16 = 3;
pub(super) const SET_KEY_TYPE: u16 = 4;
pub(super) const SET_KEY_LENGTH: u16 = 5;
pub(super) const SET_DESCRIPTION: u16 = 9;
pub(super) const SET_ID: u16 = 10;
pub(super) const SET_USERDATA: u16 = 13;
pub(super) const DESCRIPTION_SIZE: u16 = 1;
/// Of libnftnl's user data: the keys' byte order (1: the machine's, 2: the network's), without which nft(8) may print
/// them the wrong way round.
pub(super) const USERDATA_KEY_BYTE_ORDER: u8 = 0;

pub(super) const ELEMENTS_TABLE: u16 = 1;
pub(super) const ELEMENTS_SET: u16 = 2;
pub(super) const ELEMENTS_LIST: u16 = 3;
pub(super) const ELEMENTS_SET_ID: u16 = 4;
pub(super) const ELEMENT_KEY: u16 = 1;
pub(super) const ELEMENT_FLAGS: u16 = 3;

pub(super) const DATA_VALUE: u16 = 1;
pub(super) const DATA_VERDICT: u16 = 2;
pub(super) const VERDICT_CODE: u16 = 1;
pub(super) const VERDICT_CHAIN: u16 = 2;

pub(super) const EXPRESSION_NAME: u16 = 1;
pub(super) const EXPRESSION_DATA: u16 = 2;

pub(super) const META_REGISTER: u16 = 1;
pub(super) const META_KEY: u16 = 2;
pub(super) const CT_REGISTER: u16 = 1;
pub(super) const CT_KEY: u16 = 2;
pub(super) const COMPARE_REGISTER: u16 = 1;
pub(super) const COMPARE_OPERATOR: u16 = 2;
pub(super) const COMPARE_DATA: u16 = 3;
pub(super) const BITWISE_FROM: u16 = 1;
pub(super) const BITWISE_TO: u16 = 2;
pub(super) const BITWISE_LENGTH: u16 = 3;
pub(super) const BITWISE_MASK: u16 = 4;
pub(super) const BITWISE_XOR: u16 = 5;
pub(super) const PAYLOAD_REGISTER: u16 = 1;
pub(super) const PAYLOAD_BASE: u16 = 2;
pub(super) const PAYLOAD_OFFSET: u16 = 3;
pub(super) const PAYLOAD_LENGTH: u16 = 4;
pub(super) const LOOKUP_SET: u16 = 1;
pub(super) const LOOKUP_REGISTER: u16 = 2;
pub(super) const LOOKUP_SET_ID: u16 = 4;
pub(super) const FIB_REGISTER: u16 = 1;
pub(super) const FIB_RESULT: u16 = 2;
pub(super) const FIB_FLAGS: u16 = 3;
pub(super) const FIB_RESULT_INTERFACE: u32 = 1;
pub(super) const FIB_RESULT_TYPE: u32 = 3;
/// NFTA_FIB_F_SADDR, _IIF and _PRESENT.
pub(super) const FIB_SOURCE_BY_INTERFACE: u32 = 1 | 8 | 32;
pub(super) const FIB_DESTINATION: u32 = 2;
pub(super) const IMMEDIATE_REGISTER: u16 = 1;
pub(super) const IMMEDIATE_DATA: u16 = 2;
pub(super) const REJECT_TYPE: u16 = 1;
pub(super) const REJECT_CODE: u16 = 2;
/// NFT_REJECT_ICMPX_ADMIN_PROHIBITED.
pub(super) const ADMIN_PROHIBITED: u8 = 3;
pub(super) const NAT_TYPE: u16 = 1;
pub(super) const NAT_FAMILY: u16 = 2;
pub(super) const NAT_ADDRESS: u16 = 3;
pub(super) const NAT_PORT: u16 = 5;
pub(super) const NAT_FLAGS: u16 = 7;
/// NF_NAT_RANGE_PROTO_SPECIFIED.
pub(super) const NAT_PORT_GIVEN: u32 = 2;
