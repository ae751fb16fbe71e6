//! Checks of literals after the types are known: durations, timestamps, patterns, and that literals of lists and maps
//! are of one type. Upstream's `ASTValidators` of the base environment.

use super::Checker;
use crate::library::{format, time};
use crate::parse::ast::{Expr, Id, Kind, Literal};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn validate(&mut self, root: &Expr) {
        let mut found = Vec::new();
        self.walk(root, false, &mut found);
        for (id, message) in found {
            self.error(id, message);
        }
    }

    pub(super) fn final_type(&self, expr: &Expr) -> Type {
        self.mapping.substitute(&self.type_of(expr), true)
    }

    fn walk(&self, expr: &Expr, in_format: bool, found: &mut Vec<(u32, String)>) {
        match &expr.kind {
            Kind::Select { operand, .. } => self.walk(operand, in_format, found),
            Kind::Call {
                function,
                target,
                args,
            } => {
                self.validate_call(expr.id, function, target.as_deref(), args, found);
                let in_format = in_format || &**function == "format";
                for inner in target.iter().map(|t| &**t).chain(args) {
                    self.walk(inner, in_format, found);
                }
            }
            Kind::List { items, optional } => {
                if !in_format {
                    self.one_type(items, optional, found);
                }
                items.iter().for_each(|i| self.walk(i, in_format, found));
            }
            Kind::Map(entries) => {
                if !in_format {
                    self.one_type_map(entries, found);
                }
                for entry in entries {
                    self.walk(&entry.key, in_format, found);
                    self.walk(&entry.value, in_format, found);
                }
            }
            Kind::Struct { fields, .. } => fields.iter().for_each(|f| self.walk(&f.value, in_format, found)),
            Kind::Fold(fold) => {
                for inner in [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result] {
                    self.walk(inner, in_format, found);
                }
            }
            Kind::Literal(_) | Kind::Ident(_) | Kind::Missing => {}
        }
    }

    fn one_type(&self, items: &[Expr], optional: &[usize], found: &mut Vec<(u32, String)>) {
        let mut first: Option<Type> = None;
        for (i, item) in items.iter().enumerate() {
            let mut ty = self.final_type(item);
            if optional.contains(&i) {
                ty = ty.optional_inner().cloned().unwrap_or(Type::Dyn);
            }
            match &first {
                None => first = Some(ty),
                Some(known) if *known != ty => {
                    found.push((item.id, format!("expected type '{known}' but found '{ty}'")));
                    return;
                }
                Some(_) => {}
            }
        }
    }

    fn one_type_map(&self, entries: &[crate::parse::ast::Entry], found: &mut Vec<(u32, String)>) {
        let mut first: Option<(Type, Type)> = None;
        for entry in entries {
            let key = self.final_type(&entry.key);
            let mut value = self.final_type(&entry.value);
            if entry.optional {
                value = value.optional_inner().cloned().unwrap_or(Type::Dyn);
            }
            let Some((keys, values)) = &first else {
                first = Some((key, value));
                continue;
            };
            for (known, ty, at) in [(keys, &key, &entry.key), (values, &value, &entry.value)] {
                if known != ty {
                    found.push((at.id, format!("expected type '{known}' but found '{ty}'")));
                }
            }
        }
    }

    fn validate_call(
        &self,
        id: Id,
        function: &str,
        target: Option<&Expr>,
        args: &[Expr],
        found: &mut Vec<(Id, String)>,
    ) {
        if function == "format" {
            return self.validate_format(id, target, args, found);
        }
        let Some(Expr {
            id,
            kind: Kind::Literal(literal),
        }) = args.first()
        else {
            return;
        };
        let valid = match (function, literal) {
            ("duration", Literal::String(s)) => time::parse_duration(s).is_some(),
            ("timestamp", Literal::String(s)) => time::parse_timestamp(s).is_some(),
            ("timestamp", Literal::Int(i)) => time::timestamp_from_seconds(*i).is_some(),
            ("matches", Literal::String(s)) => crate::library::regex::compile(s).is_ok(),
            _ => true,
        };
        if !valid {
            found.push((*id, format!("invalid {function} argument")));
        }
    }

    fn validate_format(&self, id: Id, target: Option<&Expr>, args: &[Expr], found: &mut Vec<(Id, String)>) {
        let Some(Expr {
            kind: Kind::Literal(Literal::String(text)),
            ..
        }) = target
        else {
            return;
        };
        let Some(Expr {
            kind: Kind::List { items, .. },
            ..
        }) = args.first()
        else {
            return;
        };
        let types: Vec<Type> = items.iter().map(|i| self.final_type(i)).collect();
        if let Err((about, message)) = format::validate(text, &types) {
            found.push((about.map_or(id, |i| items[i].id), message));
        }
    }
}
