//! Checking folds and the literals of lists, maps and objects.

use super::{Checker, Resolved};
use crate::parse::ast::{Entry, Expr, Field, Fold};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn list(&mut self, expr: &Expr, items: &[Expr], optional: &[usize]) {
        let mut joined = None;
        for (i, item) in items.iter().enumerate() {
            self.check(item);
            let mut ty = self.type_of(item);
            if optional.contains(&i) {
                ty = self.unwrap_optional(item, ty);
            }
            joined = Some(self.join(joined, ty));
        }
        let element = joined.unwrap_or_else(|| self.free_variable());
        self.set(expr, Type::list(element));
    }

    pub(super) fn map(&mut self, expr: &Expr, entries: &[Entry]) {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(&entry.key);
            let key = self.type_of(&entry.key);
            keys = Some(self.join(keys, key));
            self.check(&entry.value);
            let mut value = self.type_of(&entry.value);
            if entry.optional {
                value = self.unwrap_optional(&entry.value, value);
            }
            values = Some(self.join(values, value));
        }
        let key = keys.unwrap_or_else(|| self.free_variable());
        let value = values.unwrap_or_else(|| self.free_variable());
        self.set(expr, Type::map(key, value));
    }

    pub(super) fn message(&mut self, expr: &Expr, name: &str, fields: &[Field]) {
        let plain = name.strip_prefix('.').unwrap_or(name);
        let Some((resolved, ty)) = self.lookup(plain) else {
            return self.undeclared(expr, name);
        };
        let ty = match (&resolved, ty) {
            (Resolved::TypeName(ty @ Type::Object(_)), _) => ty.clone(),
            (Resolved::TypeName(ty), _) => {
                self.error(expr.id, format!("'{}' is not a message type", ty.name()));
                Type::Error
            }
            (_, ty) => {
                self.error(expr.id, format!("'{}' is not a type", ty.name()));
                Type::Error
            }
        };
        self.set(expr, ty);
        for field in fields {
            self.check(&field.value);
            let wanted = self
                .object_field(field.id, plain, &field.name)
                .unwrap_or(Type::Error);
            let mut given = self.type_of(&field.value);
            if field.optional {
                given = self.unwrap_optional(&field.value, given);
            }
            if !self.mapping.assign(&wanted, &given) {
                let message = format!(
                    "expected type of field '{}' is '{wanted}' but provided type is '{given}'",
                    field.name
                );
                self.error(field.id, message);
            }
        }
    }

    pub(super) fn fold(&mut self, expr: &Expr, fold: &Fold) {
        self.check(&fold.range);
        self.check(&fold.init);
        let range = self.mapping.substitute(&self.type_of(&fold.range), false);
        let accu = self.type_of(&fold.init);
        self.scopes.push((fold.accu.clone(), accu.clone()));
        let (first, second) = self.element_types(&fold.range, &range, fold.iter2.is_some());
        self.scopes.push((fold.iter.clone(), first));
        if let Some(name) = &fold.iter2 {
            self.scopes.push((name.clone(), second));
        }
        self.check(&fold.condition);
        self.assert(&fold.condition, &Type::Bool);
        self.check(&fold.step);
        self.assert(&fold.step, &accu);
        if fold.iter2.is_some() {
            self.scopes.pop();
        }
        self.scopes.pop();
        self.check(&fold.result);
        self.scopes.pop();
        let ty = self.mapping.substitute(&self.type_of(&fold.result), false);
        self.set(expr, ty);
    }

    /// Types of the one or two iteration variables.
    fn element_types(&mut self, at: &Expr, range: &Type, two: bool) -> (Type, Type) {
        match range {
            Type::List(l) if two => (Type::Int, l.element.clone()),
            Type::List(l) => (l.element.clone(), Type::Dyn),
            Type::Map(m) => (m.0.clone(), m.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.mapping.assign(&Type::Dyn, range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.error(at.id, message);
                (Type::Error, Type::Error)
            }
        }
    }
}
