//! File and function sizes. Data tables may be long; functions may not.

use super::Finding;
use std::path::Path;
use syn::spanned::Spanned;
use syn::visit::Visit;

const FUNCTION_LINES: usize = 75;
const FILE_LINES: usize = 700;

pub(super) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES {
        let message = format!("{lines} lines; split the file by idea ({FILE_LINES} at most)");
        findings.push(Finding {
            path: path.into(),
            line: 1,
            message,
        });
    }
    match syn::parse_file(text) {
        Ok(file) => Functions {
            path,
            findings: &mut findings,
        }
        .visit_file(&file),
        Err(error) => {
            findings.push(Finding {
                path: path.into(),
                line: error.span().start().line,
                message: error.to_string(),
            });
        }
    }
    findings
}

struct Functions<'a> {
    path: &'a Path,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &syn::Ident, block: &syn::Block) {
        let (start, end) = (block.span().start().line, block.span().end().line);
        let lines = end - start + 1;
        if lines > FUNCTION_LINES {
            let message = format!("fn {name} has {lines} lines; split it ({FUNCTION_LINES} at most)");
            self.findings.push(Finding {
                path: self.path.into(),
                line: start,
                message,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig.ident, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig.ident, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}
