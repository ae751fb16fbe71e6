//! Checking calls: which function, and which of its overloads fit.

use super::{Checker, Resolved};
use crate::library::Function;
use crate::parse::ast::{Expr, Kind, Literal};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &Expr, name: &str, target: Option<&Expr>, args: &[Expr]) {
        if name == "_?._" {
            return self.optional_select(expr, args);
        }
        for arg in args {
            self.check(arg);
        }
        let Some(target) = target else {
            let plain = name.strip_prefix('.').unwrap_or(name);
            return match self.shared.function(plain) {
                Some(function) => self.resolve(expr, function, None, args),
                None => self.undeclared(expr, name),
            };
        };
        // `a.b.c()` may be a function named `a.b.c`.
        if let Some(prefix) = target.qualified_name() {
            let qualified = format!("{prefix}.{name}");
            if let Some(function) = self.shared.function(qualified.trim_start_matches('.')) {
                return self.resolve(expr, function, None, args);
            }
        }
        self.check(target);
        match self.shared.function(name) {
            Some(function) => self.resolve(expr, function, Some(target), args),
            None => self.undeclared(expr, name),
        }
    }

    fn optional_select(&mut self, expr: &Expr, args: &[Expr]) {
        let [operand, field] = args else {
            return self.set(expr, Type::Error);
        };
        let Kind::Literal(Literal::String(name)) = &field.kind else {
            return self.set(expr, Type::Error);
        };
        let ty = self.field_of(expr, operand, name, true);
        let ty = self.mapping.substitute(&ty, false);
        self.set(field, Type::String);
        self.set(expr, ty);
        self.resolved.insert(expr.id, Resolved::OptionalSelect);
    }

    fn resolve(&mut self, expr: &Expr, function: &'static Function, target: Option<&Expr>, args: &[Expr]) {
        if matches!(function.name, "_&&_" | "_||_") {
            return self.logical(expr, function, args);
        }
        let types: Vec<Type> = target.into_iter().chain(args).map(|e| self.type_of(e)).collect();
        let mut result: Option<Type> = None;
        let mut overloads = Vec::new();
        for overload in &function.overloads {
            if overload.member != target.is_some() {
                continue;
            }
            let (wanted, gives) = self.instantiate(overload);
            if !self.mapping.assign_all(&types, &wanted) {
                continue;
            }
            overloads.push(overload.id);
            let gives = self.mapping.substitute(&gives, false);
            result = Some(match result {
                None => gives,
                Some(known) if !known.is_dyn() && gives != known => Type::Dyn,
                Some(known) => known,
            });
        }
        match result {
            Some(ty) => {
                self.set(expr, ty);
                self.resolved
                    .insert(expr.id, Resolved::Call(function, overloads, target.is_some()));
            }
            None => self.no_overload(expr, function.name, &types, target.is_some()),
        }
    }

    fn logical(&mut self, expr: &Expr, function: &'static Function, args: &[Expr]) {
        let mut failed = false;
        for arg in args {
            let ty = self.type_of(arg);
            if !self.mapping.assign(&ty, &Type::Bool) {
                self.mismatch(arg, &Type::Bool, &ty);
                failed = true;
            }
        }
        self.set(expr, if failed { Type::Error } else { Type::Bool });
        let overloads = function.overloads.iter().map(|o| o.id).collect();
        self.resolved
            .insert(expr.id, Resolved::Call(function, overloads, false));
    }

    /// The overload's types with fresh variables for its parameters.
    fn instantiate(&mut self, overload: &crate::library::Overload) -> (Vec<Type>, Type) {
        if overload.params.is_empty() {
            return (overload.args.clone(), overload.result.clone());
        }
        let mut fresh = super::unify::Mapping::default();
        for param in &overload.params {
            let variable = self.free_variable();
            fresh.assign(&variable, &Type::Param(param.clone()));
        }
        let wanted = overload.args.iter().map(|t| fresh.substitute(t, false)).collect();
        (wanted, fresh.substitute(&overload.result, false))
    }

    fn no_overload(&mut self, expr: &Expr, name: &str, types: &[Type], member: bool) {
        self.set(expr, Type::Error);
        let types: Vec<String> = types
            .iter()
            .map(|t| self.mapping.substitute(t, true).to_string())
            .collect();
        let signature = match types.split_first() {
            Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", types.join(", ")),
        };
        self.error(
            expr.id,
            format!("found no matching overload for '{name}' applied to '{signature}'"),
        );
    }
}
