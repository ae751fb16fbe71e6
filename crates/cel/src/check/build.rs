//! From the checked syntax tree to the tree that is evaluated.

use super::ast::{Call, FoldNode, Index, ListNode, MapNode, Node, NodeKind, OptionalOr, Select, StructNode};
use super::{Checker, Resolved};
use crate::escape::unescape;
use crate::library::Function;
use crate::parse::ast::{ACCU, Expr, Fold, Kind, Literal};
use crate::program::Program;
use std::sync::{Arc, OnceLock};

impl Checker<'_> {
    pub(super) fn build(&self, root: &Expr) -> Program {
        let mut builder = Builder {
            checker: self,
            variables: Vec::new(),
            depth: 0,
            locals: 0,
        };
        let root = builder.node(root);
        Program {
            root,
            variables: builder.variables.into(),
            locals: builder.locals,
            shared: self.shared.clone(),
        }
    }
}

struct Builder<'c> {
    checker: &'c Checker<'c>,
    variables: Vec<Arc<str>>,
    /// Fold variables in scope; the checker's scopes had the same depth here.
    depth: usize,
    locals: usize,
}

impl Builder<'_> {
    fn node(&mut self, expr: &Expr) -> Node {
        let ty = self.checker.final_type(expr);
        let kind = match &expr.kind {
            Kind::Literal(literal) => NodeKind::Literal(literal.clone()),
            Kind::Ident(_) => self.name(expr).unwrap_or(NodeKind::Literal(Literal::Null)),
            Kind::Select {
                operand,
                field,
                test_only,
            } => match self.name(expr) {
                Some(kind) => kind,
                None => self.select(operand, field, *test_only, false),
            },
            Kind::Call { target, args, .. } => self.call(expr, target.as_deref(), args),
            Kind::List { items, optional } => {
                let items = self.nodes(items);
                let constant = optional.is_empty() && items.iter().all(Node::is_constant);
                NodeKind::List(Box::new(ListNode {
                    items,
                    optional: optional.clone(),
                    constant,
                }))
            }
            Kind::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|e| (self.node(&e.key), self.node(&e.value), e.optional))
                    .collect();
                let constant = entries
                    .iter()
                    .all(|(k, v, optional)| !optional && k.is_constant() && v.is_constant());
                NodeKind::Map(Box::new(MapNode { entries, constant }))
            }
            Kind::Struct { name, fields } => {
                let fields = fields.iter().map(|f| {
                    let name = unescape(&f.name).map_or_else(|| f.name.clone(), Arc::from);
                    (name, self.node(&f.value), f.optional)
                });
                let fields = fields.collect();
                let name = name.strip_prefix('.').unwrap_or(name).into();
                NodeKind::Struct(Box::new(StructNode { name, fields }))
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::Missing => NodeKind::Literal(Literal::Null),
        };
        Node { ty, kind }
    }

    fn nodes(&mut self, exprs: &[Expr]) -> Vec<Node> {
        exprs.iter().map(|e| self.node(e)).collect()
    }

    fn name(&mut self, expr: &Expr) -> Option<NodeKind> {
        Some(match self.checker.resolved.get(&expr.id)? {
            Resolved::Variable(name) => {
                let known = self.variables.iter().position(|v| v == name);
                let slot = known.unwrap_or_else(|| {
                    self.variables.push(name.clone());
                    self.variables.len() - 1
                });
                NodeKind::Variable(slot as u16)
            }
            Resolved::Local(slot) => NodeKind::Local(*slot),
            Resolved::TypeName(ty) => NodeKind::TypeName(ty.clone()),
            Resolved::Call(..) | Resolved::OptionalSelect => return None,
        })
    }

    fn select(&mut self, operand: &Expr, field: &Arc<str>, test_only: bool, optional: bool) -> NodeKind {
        let operand = self.node(operand);
        let property = match unescape(field) {
            Some(name) if *name != **field => name.into(),
            _ => field.clone(),
        };
        NodeKind::Select(Box::new(Select {
            operand,
            field: field.clone(),
            property,
            test_only,
            optional,
        }))
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, args: &[Expr]) -> NodeKind {
        match self.checker.resolved.get(&expr.id) {
            Some(Resolved::Call(function, overloads, has_target)) => {
                let target = target.filter(|_| *has_target);
                let nodes = target.into_iter().chain(args).map(|e| self.node(e)).collect();
                let mut kind = special(function, nodes, overloads, *has_target);
                if let (
                    NodeKind::Call(call),
                    Some(Expr {
                        kind: Kind::Ident(name),
                        ..
                    }),
                ) = (&mut kind, args.first())
                {
                    call.appends = &**name == ACCU
                        && matches!(
                            call.overloads[..],
                            ["add_list"] | ["@mapInsert_map_key_value"] | ["@mapInsert_map_map"]
                        );
                }
                kind
            }
            _ => match args {
                [
                    operand,
                    Expr {
                        kind: Kind::Literal(Literal::String(field)),
                        ..
                    },
                ] => self.select(operand, field, false, true),
                _ => NodeKind::Literal(Literal::Null),
            },
        }
    }

    fn fold(&mut self, fold: &Fold) -> NodeKind {
        let range = self.node(&fold.range);
        let init = self.node(&fold.init);
        let before = self.depth;
        let accu = before as u16;
        self.depth += if fold.iter2.is_some() { 3 } else { 2 };
        self.locals = self.locals.max(self.depth);
        let condition = self.node(&fold.condition);
        let step = self.node(&fold.step);
        self.depth = before + 1;
        let result = self.node(&fold.result);
        self.depth = before;
        let is_binding = matches!(&range.kind, NodeKind::List(l) if l.items.is_empty())
            && matches!(condition.kind, NodeKind::Literal(Literal::Bool(false)));
        NodeKind::Fold(Box::new(FoldNode {
            range,
            iter: accu + 1,
            iter2: fold.iter2.as_ref().map(|_| accu + 2),
            accu,
            init,
            condition,
            step,
            result,
            is_binding,
            hidden: &*fold.accu == ACCU,
        }))
    }
}

/// Operators that the interpreter treats apart, and all other calls.
fn special(
    function: &'static Function,
    nodes: Vec<Node>,
    overloads: &[&'static str],
    has_target: bool,
) -> NodeKind {
    let nodes = match <[Node; 3]>::try_from(nodes) {
        Ok(three) if function.name == "_?_:_" => return NodeKind::Conditional(Box::new(three)),
        Ok(three) => Vec::from(three),
        Err(other) => other,
    };
    let nodes = match (function.name, <[Node; 2]>::try_from(nodes)) {
        ("_&&_", Ok(two)) => return NodeKind::And(Box::new(two)),
        ("_||_", Ok(two)) => return NodeKind::Or(Box::new(two)),
        ("_==_", Ok(two)) => return NodeKind::Equals(Box::new(two), true),
        ("_!=_", Ok(two)) => return NodeKind::Equals(Box::new(two), false),
        ("or", Ok(two)) => return NodeKind::OptionalOr(Box::new(two), OptionalOr::Optional),
        ("orValue", Ok(two)) => return NodeKind::OptionalOr(Box::new(two), OptionalOr::Value),
        ("_[_]" | "_[?_]", Ok(operands)) => {
            let optional = function.name == "_[?_]";
            return NodeKind::Index(Box::new(Index {
                operands,
                optional,
                overloads: overloads.to_vec(),
            }));
        }
        (_, Ok(two)) => Vec::from(two),
        (_, Err(other)) => other,
    };
    let constant = is_conversion(function.name) && nodes.len() == 1 && nodes[0].is_constant();
    NodeKind::Call(Box::new(Call {
        function,
        overloads: overloads.to_vec(),
        has_target,
        args: nodes,
        pattern: OnceLock::new(),
        constant,
        appends: false,
    }))
}

fn is_conversion(name: &str) -> bool {
    matches!(
        name,
        "bool" | "bytes" | "double" | "duration" | "dyn" | "int" | "string" | "timestamp" | "type" | "uint"
    )
}
