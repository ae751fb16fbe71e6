//! Copies of expressions, for macros that use an operand twice.

use super::Found;
use super::ast::{Entry, Expr, Field, Fold, Kind};
use super::macros::{Made, Maker};

/// Copies may not let an expression grow beyond this many nodes.
const NODES_MAX: usize = 1_000_000;

impl Maker<'_, '_> {
    /// The same expression with identities of its own.
    pub(super) fn copy(&mut self, expr: &Expr) -> Made {
        if self.parser.offsets.len() > NODES_MAX {
            return Err((None, format!("expression recursion limit exceeded: {NODES_MAX}")));
        }
        let at = self.parser.offsets[expr.id as usize];
        let height = self.parser.heights[expr.id as usize];
        let kind = match &expr.kind {
            Kind::Select {
                operand,
                field,
                test_only,
            } => Kind::Select {
                operand: Box::new(self.copy(operand)?),
                field: field.clone(),
                test_only: *test_only,
            },
            Kind::Call {
                function,
                target,
                args,
            } => Kind::Call {
                function: function.clone(),
                target: target.as_ref().map(|t| self.copy(t)).transpose()?.map(Box::new),
                args: self.copies(args)?,
            },
            Kind::List { items, optional } => Kind::List {
                items: self.copies(items)?,
                optional: optional.clone(),
            },
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|e| {
                        Ok(Entry {
                            key: self.copy(&e.key)?,
                            value: self.copy(&e.value)?,
                            optional: e.optional,
                        })
                    })
                    .collect::<Result<_, Found>>()?,
            ),
            Kind::Struct { name, fields } => Kind::Struct {
                name: name.clone(),
                fields: self.copy_fields(fields)?,
            },
            Kind::Fold(fold) => Kind::Fold(Box::new(Fold {
                range: self.copy(&fold.range)?,
                iter: fold.iter.clone(),
                iter2: fold.iter2.clone(),
                accu: fold.accu.clone(),
                init: self.copy(&fold.init)?,
                condition: self.copy(&fold.condition)?,
                step: self.copy(&fold.step)?,
                result: self.copy(&fold.result)?,
            })),
            leaf => leaf.clone(),
        };
        let copy = self.parser.new(at, kind);
        self.parser.heights[copy.id as usize] = height;
        Ok(copy)
    }

    fn copies(&mut self, exprs: &[Expr]) -> Result<Vec<Expr>, Found> {
        exprs.iter().map(|e| self.copy(e)).collect()
    }

    fn copy_fields(&mut self, fields: &[Field]) -> Result<Vec<Field>, Found> {
        let mut copies = Vec::with_capacity(fields.len());
        for field in fields {
            let at = self.parser.offsets[field.id as usize];
            let id = self.parser.new_id(at);
            copies.push(Field {
                id,
                name: field.name.clone(),
                value: self.copy(&field.value)?,
                optional: field.optional,
            });
        }
        Ok(copies)
    }
}
