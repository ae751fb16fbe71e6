//! Macros: `has`, the quantifiers and transformations, and those of optional values, lists and `cel.bind`.

use super::ast::{ACCU, Expr, Fold, Id, Kind, Literal};
use super::{Found, Parser};
use std::sync::Arc;

/// Iteration variable of a fold that runs zero times.
const UNUSED: &str = "#unused";
const SORT_INPUT: &str = "@__sortBy_input__";

/// Either the expansion, or what was not a macro, given back.
type Expansion = Result<Expr, (Option<Expr>, Vec<Expr>)>;
pub(super) type Made = Result<Expr, Found>;

#[derive(Clone, Copy)]
enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

impl Parser<'_> {
    pub(super) fn expand(
        &mut self,
        id: Id,
        function: &str,
        target: Option<Expr>,
        args: Vec<Expr>,
    ) -> Expansion {
        if !self.is_macro(function, target.as_ref(), args.len()) {
            return Err((target, args));
        }
        let at = self.offsets[id as usize];
        let mut maker = Maker { parser: self, at };
        let made = match (function, target) {
            ("has", _) => maker.has(args),
            (_, Some(target)) => maker.receiver(function, target, args),
            (_, None) => return Err((None, args)),
        };
        Ok(match made {
            Ok(expr) => {
                // The expansion nests what it was made of.
                self.heights[expr.id as usize] =
                    self.heights[id as usize].max(self.heights[expr.id as usize]);
                expr
            }
            Err((offset, message)) => self.report(offset.unwrap_or(at), message),
        })
    }

    fn is_macro(&self, function: &str, target: Option<&Expr>, args: usize) -> bool {
        match (function, target.is_some(), args) {
            ("has", false, 1) => true,
            ("all" | "exists" | "exists_one" | "map", true, 2 | 3) | ("existsOne", true, 3) => true,
            ("filter" | "optMap" | "optFlatMap" | "sortBy", true, 2) => true,
            ("transformList" | "transformMap" | "transformMapEntry", true, 3 | 4) => true,
            ("bind", true, 3) => {
                let cel = target.and_then(Expr::qualified_name);
                self.options.bind && cel.as_deref() == Some("cel")
            }
            _ => false,
        }
    }
}

/// Makes nodes that stand where the macro is called.
pub(super) struct Maker<'p, 's> {
    pub(super) parser: &'p mut Parser<'s>,
    at: u32,
}

impl Maker<'_, '_> {
    fn new(&mut self, kind: Kind) -> Expr {
        self.parser.new(self.at, kind)
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.new(Kind::Literal(literal))
    }

    fn ident(&mut self, name: &str) -> Expr {
        self.new(Kind::Ident(name.into()))
    }

    fn accu(&mut self) -> Expr {
        self.ident(ACCU)
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.new(Kind::Call {
            function: function.into(),
            target: None,
            args,
        })
    }

    fn member(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.new(Kind::Call {
            function: function.into(),
            target: Some(Box::new(target)),
            args,
        })
    }

    fn list(&mut self, items: Vec<Expr>) -> Expr {
        self.new(Kind::List {
            items,
            optional: Vec::new(),
        })
    }

    fn error(&self, at: &Expr, message: &str) -> Found {
        self.parser.found_at(at.id, message)
    }

    fn has(&mut self, args: Vec<Expr>) -> Made {
        let Some(arg) = args.into_iter().next() else {
            return Err((None, "invalid argument to has() macro".to_owned()));
        };
        match arg.kind {
            Kind::Select { operand, field, .. } => Ok(self.new(Kind::Select {
                operand,
                field,
                test_only: true,
            })),
            _ => Err(self.error(&arg, "invalid argument to has() macro")),
        }
    }

    fn receiver(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Made {
        match (function, args.len()) {
            ("all", n) => self.quantifier(Quantifier::All, target, args, n == 3),
            ("exists", n) => self.quantifier(Quantifier::Exists, target, args, n == 3),
            ("exists_one" | "existsOne", n) => self.quantifier(Quantifier::ExistsOne, target, args, n == 3),
            ("map", _) => self.map(target, args),
            ("filter", _) => self.filter(target, args),
            ("transformList" | "transformMap" | "transformMapEntry", _) => {
                self.transform(function, target, args)
            }
            ("optMap" | "optFlatMap", _) => self.opt_map(function, target, args),
            ("sortBy", _) => self.sort_by(target, args),
            _ => self.bind(args),
        }
    }

    /// The variables at the head of the arguments, checked, and the arguments after them.
    fn variables(
        &self,
        args: Vec<Expr>,
        two: bool,
        message: &str,
    ) -> Result<(Arc<str>, Option<Arc<str>>, Vec<Expr>), Found> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for arg in &args[..if two { 2 } else { 1 }] {
            match &arg.kind {
                Kind::Ident(name) => names.push(name.clone()),
                _ => return Err(self.error(arg, message)),
            }
        }
        if two && names[0] == names[1] {
            return Err(self.error(&args[1], &format!("duplicate variable name: {}", names[0])));
        }
        for (name, arg) in names.iter().zip(&args) {
            if matches!(&**name, ACCU | "__result__") {
                return Err(self.error(arg, "iteration variable overwrites accumulator variable"));
            }
        }
        let count = names.len();
        let mut names = names.into_iter();
        let first = names.next().unwrap_or_default();
        Ok((first, names.next(), args.into_iter().skip(count).collect()))
    }

    fn fold(&mut self, range: Expr, vars: (Arc<str>, Option<Arc<str>>), parts: [Expr; 4]) -> Expr {
        let [init, condition, step, result] = parts;
        let (iter, iter2) = vars;
        let fold = Fold {
            range,
            iter,
            iter2,
            accu: ACCU.into(),
            init,
            condition,
            step,
            result,
        };
        self.new(Kind::Fold(Box::new(fold)))
    }

    fn quantifier(&mut self, kind: Quantifier, range: Expr, args: Vec<Expr>, two: bool) -> Made {
        let (first, second, rest) = self.variables(args, two, "argument must be a simple name")?;
        let Some(predicate) = rest.into_iter().next() else {
            return Ok(range);
        };
        let accu = self.accu();
        let parts = match kind {
            Quantifier::All => {
                let condition = self.call("@not_strictly_false", vec![accu]);
                let accu = self.accu();
                let step = self.call("_&&_", vec![accu, predicate]);
                [self.literal(Literal::Bool(true)), condition, step, self.accu()]
            }
            Quantifier::Exists => {
                let not = self.call("!_", vec![accu]);
                let condition = self.call("@not_strictly_false", vec![not]);
                let accu = self.accu();
                let step = self.call("_||_", vec![accu, predicate]);
                [self.literal(Literal::Bool(false)), condition, step, self.accu()]
            }
            Quantifier::ExistsOne => {
                let one = self.literal(Literal::Int(1));
                let more = self.call("_+_", vec![accu, one]);
                let accu = self.accu();
                let step = self.call("_?_:_", vec![predicate, more, accu]);
                let accu = self.accu();
                let one = self.literal(Literal::Int(1));
                let result = self.call("_==_", vec![accu, one]);
                [
                    self.literal(Literal::Int(0)),
                    self.literal(Literal::Bool(true)),
                    step,
                    result,
                ]
            }
        };
        Ok(self.fold(range, (first, second), parts))
    }

    /// A fold that appends: `accu + [item]`, if the predicate holds.
    fn collect(
        &mut self,
        range: Expr,
        vars: (Arc<str>, Option<Arc<str>>),
        predicate: Option<Expr>,
        item: Expr,
    ) -> Expr {
        let item = self.list(vec![item]);
        let accu = self.accu();
        let step = self.call("_+_", vec![accu, item]);
        let init = self.list(Vec::new());
        self.guarded(range, vars, predicate, (init, step))
    }

    fn guarded(
        &mut self,
        range: Expr,
        vars: (Arc<str>, Option<Arc<str>>),
        predicate: Option<Expr>,
        (init, step): (Expr, Expr),
    ) -> Expr {
        let step = match predicate {
            Some(predicate) => {
                let accu = self.accu();
                self.call("_?_:_", vec![predicate, step, accu])
            }
            None => step,
        };
        let condition = self.literal(Literal::Bool(true));
        let result = self.accu();
        self.fold(range, vars, [init, condition, step, result])
    }

    fn map(&mut self, range: Expr, args: Vec<Expr>) -> Made {
        let (name, _, mut rest) = self.variables(args, false, "argument is not an identifier")?;
        let Some(item) = rest.pop() else { return Ok(range) };
        let predicate = rest.pop();
        Ok(self.collect(range, (name, None), predicate, item))
    }

    fn filter(&mut self, range: Expr, args: Vec<Expr>) -> Made {
        let item = args[0].clone();
        let (name, _, mut rest) = self.variables(args, false, "argument is not an identifier")?;
        let predicate = rest.pop();
        Ok(self.collect(range, (name, None), predicate, item))
    }

    fn transform(&mut self, function: &str, range: Expr, args: Vec<Expr>) -> Made {
        let (first, second, mut rest) = self.variables(args, true, "argument must be a simple name")?;
        let Some(item) = rest.pop() else { return Ok(range) };
        let predicate = rest.pop();
        if function == "transformList" {
            return Ok(self.collect(range, (first, second), predicate, item));
        }
        let mut args = vec![self.accu()];
        if function == "transformMap" {
            args.push(self.ident(&first));
        }
        args.push(item);
        let step = self.call("cel.@mapInsert", args);
        let init = self.new(Kind::Map(Vec::new()));
        Ok(self.guarded(range, (first, second), predicate, (init, step)))
    }

    /// `name` bound to `init` in `result`: a fold that runs zero times.
    fn binding(&mut self, name: Arc<str>, init: Expr, result: Expr) -> Expr {
        let fold = Fold {
            range: self.list(Vec::new()),
            iter: UNUSED.into(),
            iter2: None,
            init,
            condition: self.literal(Literal::Bool(false)),
            step: self.ident(&name),
            accu: name,
            result,
        };
        self.new(Kind::Fold(Box::new(fold)))
    }

    fn simple_name(&self, arg: &Expr, message: &str) -> Result<Arc<str>, Found> {
        match &arg.kind {
            Kind::Ident(name) => Ok(name.clone()),
            _ => Err(self.error(arg, message)),
        }
    }

    fn opt_map(&mut self, function: &str, target: Expr, mut args: Vec<Expr>) -> Made {
        let name = self.simple_name(
            &args[0],
            &format!("{function}() variable name must be a simple identifier"),
        )?;
        let Some(mapped) = args.pop() else {
            return Ok(target);
        };
        let again = self.copy(&target)?;
        let value = self.member("value", again, Vec::new());
        let mut then = self.binding(name, value, mapped);
        if function == "optMap" {
            then = self.call("optional.of", vec![then]);
        }
        let condition = self.member("hasValue", target, Vec::new());
        let none = self.call("optional.none", Vec::new());
        Ok(self.call("_?_:_", vec![condition, then, none]))
    }

    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Made {
        if matches!(target.kind, Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. }) {
            let message =
                "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return Err(self.error(&target, message));
        }
        let input = self.ident(SORT_INPUT);
        let keys = self.map(input, args)?;
        let input = self.ident(SORT_INPUT);
        let call = self.member("@sortByAssociatedKeys", input, vec![keys]);
        Ok(self.binding(SORT_INPUT.into(), target, call))
    }

    fn bind(&mut self, args: Vec<Expr>) -> Made {
        let name = self.simple_name(&args[0], "cel.bind() variable names must be simple identifiers")?;
        let mut rest = args.into_iter().skip(1);
        match (rest.next(), rest.next()) {
            (Some(init), Some(result)) => Ok(self.binding(name, init, result)),
            _ => Err((None, "cel.bind() needs three arguments".to_owned())),
        }
    }
}
