//! What an evaluation can cost, before there is anything to evaluate. After cel-go's `checker/cost.go`.

mod calls;
mod folds;
mod kubernetes;
mod lists;
mod size;

use crate::check::ast::{Call, Index, ListNode, MapNode, Node, NodeKind, Select};
use crate::parse::ast::Literal;
use crate::program::Program;
use crate::provider::SizeHints;
use crate::types::Type;
pub use size::{CostEstimate, SizeEstimate};

const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;
const STRUCT_COST: u64 = 40;

pub(crate) fn estimate(program: &Program, hints: &dyn SizeHints) -> CostEstimate {
    let locals = (0..program.locals).map(|_| None).collect();
    Coster {
        program,
        hints,
        locals,
    }
    .cost(&program.root)
    .cost
}

/// What is known of an expression.
#[derive(Debug, Clone, Default)]
struct Known {
    cost: CostEstimate,
    /// Set if the expression itself shows its size.
    size: Option<SizeEstimate>,
    /// Sizes of keys or indexes and of values, if it is a container.
    entry: Option<Entry>,
    /// Where in the input it comes from.
    path: Vec<String>,
}

/// Sizes of what a container holds.
#[derive(Debug, Clone, Copy)]
struct Entry {
    is_list: bool,
    key: SizeEstimate,
    value: SizeEstimate,
}

impl Entry {
    fn union(a: Option<Entry>, b: Option<Entry>) -> Option<Entry> {
        let (a, b) = (a?, b?);
        Some(Entry {
            is_list: a.is_list,
            key: a.key.union(b.key),
            value: a.value.union(b.value),
        })
    }
}

/// A variable of a fold.
#[derive(Clone, Default)]
struct Local {
    path: Vec<String>,
    size: Option<SizeEstimate>,
    entry: Option<Entry>,
}

/// An expression with what is known of it, as the estimates of calls see it.
struct Arg<'n> {
    node: &'n Node,
    known: Known,
    /// Its size, if anything tells.
    size: Option<SizeEstimate>,
}

impl Arg<'_> {
    fn size(&self) -> SizeEstimate {
        self.size.unwrap_or(SizeEstimate::UNKNOWN)
    }

    /// The value of an int literal.
    fn int(&self) -> Option<i64> {
        match self.node.kind {
            NodeKind::Literal(Literal::Int(i)) => Some(i),
            _ => None,
        }
    }
}

struct Coster<'c> {
    program: &'c Program,
    hints: &'c dyn SizeHints,
    locals: Vec<Option<Local>>,
}

impl<'c> Coster<'c> {
    fn cost(&mut self, node: &'c Node) -> Known {
        match &node.kind {
            NodeKind::Literal(literal) => Known {
                size: Some(literal_size(literal)),
                ..Known::default()
            },
            NodeKind::TypeName(_) => Known {
                cost: CostEstimate::fixed(1),
                ..Known::default()
            },
            NodeKind::Variable(slot) => Known {
                cost: CostEstimate::fixed(1),
                path: vec![self.program.variables[usize::from(*slot)].to_string()],
                ..Known::default()
            },
            NodeKind::Local(slot) => {
                let local = self.locals[usize::from(*slot)].clone().unwrap_or_default();
                Known {
                    cost: CostEstimate::fixed(1),
                    path: local.path,
                    entry: local.entry,
                    size: None,
                }
            }
            NodeKind::Select(select) => self.select(select),
            NodeKind::And(terms) | NodeKind::Or(terms) => {
                let left = self.cost(&terms[0]).cost;
                let right = self.cost(&terms[1]).cost;
                // The first side may decide.
                let cost = CostEstimate {
                    min: left.min,
                    max: left.add(right).max,
                };
                Known {
                    cost,
                    ..Known::default()
                }
            }
            NodeKind::Conditional(parts) => self.conditional(parts),
            NodeKind::Equals(sides, wanted) => self.equals(sides, *wanted),
            NodeKind::Index(index) => self.index(index),
            NodeKind::OptionalOr(sides, _) => {
                let cost = self.cost(&sides[0]).cost.add(self.cost(&sides[1]).cost);
                Known {
                    cost: cost.add(CostEstimate::fixed(1)),
                    ..Known::default()
                }
            }
            NodeKind::Call(call) => self.call(node, call),
            NodeKind::List(list) => self.list(list),
            NodeKind::Map(map) => self.map(map),
            NodeKind::Struct(message) => {
                let mut cost = CostEstimate::fixed(STRUCT_COST);
                for (_, value, _) in &message.fields {
                    cost = cost.add(self.cost(value).cost);
                }
                Known {
                    cost,
                    ..Known::default()
                }
            }
            NodeKind::Fold(fold) if fold.is_binding && !fold.hidden => self.binding(fold),
            NodeKind::Fold(fold) => self.fold(fold),
        }
    }

    /// Cost and size of an operand.
    fn arg(&mut self, node: &'c Node) -> Arg<'c> {
        let known = self.cost(node);
        let size = self.size_of(node, &known);
        Arg { node, known, size }
    }

    /// The size of an expression: from itself, from the schema, from its type, or from what a variable is bound to.
    fn size_of(&self, node: &Node, known: &Known) -> Option<SizeEstimate> {
        if known.size.is_some() {
            return known.size;
        }
        if let Some(size) = self.hint(&known.path, &node.ty) {
            return Some(size);
        }
        if node.ty.is_scalar() {
            return Some(SizeEstimate::fixed(1));
        }
        match node.kind {
            NodeKind::Local(slot) => self.locals[usize::from(slot)].as_ref().and_then(|l| l.size),
            _ => None,
        }
    }

    fn hint(&self, path: &[String], ty: &Type) -> Option<SizeEstimate> {
        if path.is_empty() {
            return None;
        }
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.hints.size(&path, ty)
    }

    fn select(&mut self, select: &'c Select) -> Known {
        let operand = self.cost(&select.operand);
        if select.test_only {
            return Known {
                cost: operand.cost,
                ..Known::default()
            };
        }
        if select.optional {
            return Known {
                cost: operand.cost.add(CostEstimate::fixed(1)),
                ..Known::default()
            };
        }
        let mut cost = operand.cost;
        if matches!(select.operand.ty, Type::Map(_) | Type::Object(_) | Type::Param(_)) {
            cost = cost.add(CostEstimate::fixed(1));
        }
        let mut path = operand.path;
        path.push(select.field.to_string());
        Known {
            cost,
            path,
            ..Known::default()
        }
    }

    fn conditional(&mut self, parts: &'c [Node; 3]) -> Known {
        let condition = self.cost(&parts[0]).cost;
        let (then, otherwise) = (self.arg(&parts[1]), self.arg(&parts[2]));
        let cost = condition.add(then.known.cost.union(otherwise.known.cost));
        let size = then.size().union(otherwise.size());
        let entry = Entry::union(then.known.entry, otherwise.known.entry);
        Known {
            cost,
            size: Some(size),
            entry,
            path: Vec::new(),
        }
    }

    fn equals(&mut self, sides: &'c [Node; 2], wanted: bool) -> Known {
        let (left, right) = (self.arg(&sides[0]), self.arg(&sides[1]));
        let operands = left.known.cost.add(right.known.cost);
        let cost = if wanted {
            kubernetes::equality(&left, &right)
        } else {
            None
        };
        let cost = cost.unwrap_or_else(|| calls::compare(&left, &right));
        Known {
            cost: cost.add(operands),
            ..Known::default()
        }
    }

    fn index(&mut self, index: &'c Index) -> Known {
        let container = self.cost(&index.operands[0]);
        let key = self.cost(&index.operands[1]).cost;
        let cost = container.cost.add(key).add(CostEstimate::fixed(1));
        let mut known = Known {
            cost,
            ..Known::default()
        };
        for overload in &index.overloads {
            let step = match *overload {
                "index_list" => "@items",
                "index_map" => "@values",
                _ => continue,
            };
            known.size = container.entry.map(|e| e.value);
            known.path = container.path.clone();
            known.path.push(step.to_owned());
        }
        known
    }

    fn list(&mut self, list: &'c ListNode) -> Known {
        let mut cost = CostEstimate::fixed(LIST_COST);
        let mut value = if list.items.is_empty() {
            SizeEstimate::fixed(0)
        } else {
            SizeEstimate::NONE
        };
        for item in &list.items {
            let item = self.arg(item);
            cost = cost.add(item.known.cost);
            value = value.union(item.size());
        }
        let size = Some(SizeEstimate::fixed(list.items.len() as u64));
        let entry = Some(Entry {
            is_list: true,
            key: SizeEstimate::fixed(1),
            value,
        });
        Known {
            cost,
            size,
            entry,
            path: Vec::new(),
        }
    }

    fn map(&mut self, map: &'c MapNode) -> Known {
        let mut cost = CostEstimate::fixed(MAP_COST);
        let start = if map.entries.is_empty() {
            SizeEstimate::fixed(0)
        } else {
            SizeEstimate::NONE
        };
        let mut entry = Entry {
            is_list: false,
            key: start,
            value: start,
        };
        for (key, value, _) in &map.entries {
            let (key, value) = (self.arg(key), self.arg(value));
            cost = cost.add(key.known.cost).add(value.known.cost);
            entry.key = entry.key.union(key.size());
            entry.value = entry.value.union(value.size());
        }
        let size = Some(SizeEstimate::fixed(map.entries.len() as u64));
        Known {
            cost,
            size,
            entry: Some(entry),
            path: Vec::new(),
        }
    }

    fn call(&mut self, node: &'c Node, call: &'c Call) -> Known {
        if call.function.name == "dyn"
            && let Some(arg) = call.args.first()
        {
            let arg = self.arg(arg);
            let cost = arg.known.cost.add(CostEstimate::fixed(1));
            return Known {
                cost,
                size: arg.size,
                entry: arg.known.entry,
                path: Vec::new(),
            };
        }
        let args: Vec<Arg<'c>> = call.args.iter().map(|a| self.arg(a)).collect();
        let operands = args
            .iter()
            .fold(CostEstimate::default(), |sum, a| sum.add(a.known.cost));
        let element = args.first().and_then(|target| self.element(target));
        let mut cost = CostEstimate {
            min: u64::MAX,
            max: 0,
        };
        let mut size: Option<SizeEstimate> = None;
        for overload in &call.overloads {
            let estimate = calls::estimate(call, overload, &args, element.as_ref());
            cost = cost.union(estimate.cost);
            if let Some(result) = estimate.size {
                size = Some(size.map_or(result, |known| known.union(result)));
            }
        }
        let entry = match call.function.name {
            "_+_" if args.len() == 2 => Entry::union(args[0].known.entry, args[1].known.entry),
            _ => None,
        };
        let mut known = Known {
            cost: cost.add(operands),
            size,
            entry,
            path: Vec::new(),
        };
        known.size = self.size_of(node, &known);
        known
    }

    /// Type and size of the elements of a list.
    fn element(&self, list: &Arg<'_>) -> Option<(Type, SizeEstimate)> {
        let ty = match &list.node.ty {
            Type::List(ty) => ty.element.clone(),
            Type::Map(map) => map.0.clone(),
            Type::Opaque(o) => o.1.first()?.clone(),
            Type::Type(ty) => Type::clone(ty),
            _ => return None,
        };
        let mut path = list.known.path.clone();
        let size = if path.is_empty() {
            None
        } else {
            path.push("@items".to_owned());
            self.hint(&path, &ty)
        };
        Some((ty, size.unwrap_or(SizeEstimate::UNKNOWN)))
    }
}

fn literal_size(literal: &Literal) -> SizeEstimate {
    SizeEstimate::fixed(match literal {
        Literal::String(s) => s.chars().count() as u64,
        Literal::Bytes(b) => b.len() as u64,
        _ => 1,
    })
}
