//! The checked tree: what the interpreter walks and the cost estimate reads.

use crate::library::Function;
use crate::parse::ast::Literal;
use crate::types::Type;
use std::sync::{Arc, OnceLock};

/// An expression with its type; names are resolved.
pub(crate) struct Node {
    pub ty: Type,
    pub kind: NodeKind,
}

pub(crate) enum NodeKind {
    Literal(Literal),
    /// A variable of the environment, by slot.
    Variable(u16),
    /// A variable of a fold, by slot.
    Local(u16),
    TypeName(Type),
    Select(Box<Select>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    Equals(Box<[Node; 2]>, bool),
    Index(Box<Index>),
    /// `a.or(b)` of optional values, and `a.orValue(b)`.
    OptionalOr(Box<[Node; 2]>, OptionalOr),
    Call(Box<Call>),
    List(Box<ListNode>),
    Map(Box<MapNode>),
    Struct(Box<StructNode>),
    Fold(Box<FoldNode>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionalOr {
    Optional,
    Value,
}

pub(crate) struct Select {
    pub operand: Node,
    /// As written.
    pub field: Arc<str>,
    /// The JSON property, if the operand is an object.
    pub property: Arc<str>,
    /// `has(..)`.
    pub test_only: bool,
    /// `a.?b`.
    pub optional: bool,
}

pub(crate) struct Index {
    pub operands: [Node; 2],
    pub optional: bool,
    pub overloads: Vec<&'static str>,
}

pub(crate) struct Call {
    pub function: &'static Function,
    /// Overloads that fit; more than one if types are dynamic.
    pub overloads: Vec<&'static str>,
    /// Whether the first argument stands before the dot.
    pub has_target: bool,
    pub args: Vec<Node>,
    /// A literal pattern, compiled at first use.
    pub pattern: OnceLock<Option<regex::Regex>>,
    /// A conversion of a constant, computed before evaluation; costs nothing then.
    pub constant: bool,
    /// The first argument is the accumulator of a macro, which nothing else can see.
    pub appends: bool,
}

pub(crate) struct ListNode {
    pub items: Vec<Node>,
    pub optional: Vec<usize>,
    /// All items are constants: made before evaluation, costs nothing.
    pub constant: bool,
}

pub(crate) struct MapNode {
    /// Key, value, and whether the entry is optional.
    pub entries: Vec<(Node, Node, bool)>,
    pub constant: bool,
}

pub(crate) struct StructNode {
    pub name: Arc<str>,
    pub fields: Vec<(Arc<str>, Node, bool)>,
}

pub(crate) struct FoldNode {
    pub range: Node,
    pub iter: u16,
    pub iter2: Option<u16>,
    pub accu: u16,
    pub init: Node,
    pub condition: Node,
    pub step: Node,
    pub result: Node,
    /// Binds a name; runs zero times.
    pub is_binding: bool,
    /// The accumulator is the hidden one of the macros.
    pub hidden: bool,
}

impl Node {
    /// Known before evaluation.
    pub fn is_constant(&self) -> bool {
        match &self.kind {
            NodeKind::Literal(_) => true,
            NodeKind::List(list) => list.constant,
            NodeKind::Map(map) => map.constant,
            NodeKind::Call(call) => call.constant,
            _ => false,
        }
    }
}
