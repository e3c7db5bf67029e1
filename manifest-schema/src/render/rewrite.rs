//! Templates as the engine gets them: the same text, in which what makes new values goes through [`super::bounds`].
//!
//! Why: the engine bounds steps and not sizes, and has no hook for `~`, `+`, `*` and slices; a text that is doubled
//! sixty times fills any memory. So these operators become filters: `a ~ b` is given to the engine as
//! `(a)|ferry__join((b))`. What must stay true: each edit lies exactly at the ends of an expression as the engine's
//! own parser found them, the result means the same, no line is added, and every position can be told in the text
//! as it was written. A stretch of literal text is announced before it is written, since a macro can repeat it.

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Spanned, Stmt, UnaryOpKind};
use minijinja::machinery::{Token, parse, parse_expr, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use std::collections::BTreeMap;

/// Literal text shorter than this is not announced: the number of steps bounds it.
const MIN_RAW: usize = 64;

/// A text with edits in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Rewritten {
    pub(super) text: String,
    /// Where a stretch begins in `text`, where in the original, and whether both have it.
    stretches: Vec<(usize, usize, bool)>,
}

impl Rewritten {
    /// Where a byte of the rewritten text stands in the original.
    pub(super) fn original(&self, at: usize) -> usize {
        let index = self.stretches.partition_point(|(begin, _, _)| *begin <= at);
        match index.checked_sub(1).and_then(|index| self.stretches.get(index)) {
            Some((begin, original, true)) => original + (at - begin),
            Some((_, original, false)) => *original,
            None => at,
        }
    }
}

/// The template; unchanged where it is none, since the engine then says why.
pub(super) fn template(text: &str, syntax: SyntaxConfig) -> Rewritten {
    let mut edits = Edits::new(text, false, syntax.clone());
    if let Ok(root) = parse(text, "template", syntax) {
        edits.statement(&root);
    }
    edits.apply()
}

/// The expression.
pub(super) fn expression(text: &str, syntax: SyntaxConfig) -> Rewritten {
    let mut edits = Edits::new(text, true, syntax);
    if let Ok(root) = parse_expr(text) {
        edits.expression(&root);
    }
    edits.apply()
}

struct Edits<'t> {
    text: &'t str,
    /// Operators by the byte at which they begin.
    operators: BTreeMap<usize, (char, usize)>,
    /// What is put at a byte, and how many bytes it takes the place of. Of those at one byte, what ends something
    /// comes before what begins something, and what is outside begins before what is inside.
    edits: BTreeMap<usize, Edit>,
}

#[derive(Default)]
struct Edit {
    ends: String,
    begins: Vec<String>,
    replaced: usize,
}

impl<'t> Edits<'t> {
    fn new(text: &'t str, is_expression: bool, syntax: SyntaxConfig) -> Self {
        let tokens = tokenize(text, is_expression, syntax).map_while(Result::ok);
        let operators = tokens.filter_map(|(token, span)| {
            let kind = match token {
                Token::Plus => '+',
                Token::Mul => '*',
                Token::Tilde => '~',
                _ => return None,
            };
            Some((offset(span.start_offset), (kind, offset(span.end_offset))))
        });
        Self { text, operators: operators.collect(), edits: BTreeMap::new() }
    }

    fn begin(&mut self, at: usize, text: &str) {
        self.edits.entry(at).or_default().begins.push(text.to_owned());
    }

    fn end(&mut self, at: usize, text: &str) {
        self.edits.entry(at).or_default().ends.push_str(text);
    }

    fn statements(&mut self, body: &[Stmt<'_>]) {
        body.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(s) => self.statements(&s.children),
            Stmt::EmitExpr(s) => self.expression(&s.expr),
            Stmt::EmitRaw(s) => self.raw(s.raw),
            Stmt::ForLoop(s) => {
                self.expression(&s.iter);
                s.filter_expr.iter().for_each(|expr| self.expression(expr));
                self.statements(&s.body);
                self.statements(&s.else_body);
            }
            Stmt::IfCond(s) => {
                self.expression(&s.expr);
                self.statements(&s.true_body);
                self.statements(&s.false_body);
            }
            Stmt::WithBlock(s) => {
                s.assignments.iter().for_each(|(_, value)| self.expression(value));
                self.statements(&s.body);
            }
            Stmt::Set(s) => self.expression(&s.expr),
            Stmt::SetBlock(s) => {
                s.filter.iter().for_each(|filter| self.expression(filter));
                self.statements(&s.body);
            }
            Stmt::AutoEscape(s) => {
                self.expression(&s.enabled);
                self.statements(&s.body);
            }
            Stmt::FilterBlock(s) => {
                self.expression(&s.filter);
                self.statements(&s.body);
            }
            // What is required may hold nothing.
            Stmt::Block(s) if s.required => {}
            Stmt::Block(s) => self.statements(&s.body),
            Stmt::Macro(s) => {
                s.defaults.iter().for_each(|expr| self.expression(expr));
                self.statements(&s.body);
            }
            Stmt::CallBlock(s) => {
                self.expression(&s.call.expr);
                self.arguments(&s.call.args);
                s.macro_decl.defaults.iter().for_each(|expr| self.expression(expr));
                self.statements(&s.macro_decl.body);
            }
            Stmt::Do(s) => {
                self.expression(&s.call.expr);
                self.arguments(&s.call.args);
            }
            // Their names are in quotes.
            Stmt::Import(_) | Stmt::FromImport(_) | Stmt::Extends(_) | Stmt::Include(_) => {}
            Stmt::Continue(_) | Stmt::Break(_) => {}
        }
    }

    fn raw(&mut self, raw: &str) {
        if raw.len() < MIN_RAW {
            return;
        }
        let Some(start) = (raw.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize) else { return };
        // After `{` it would read as something else.
        let Some(inside) = raw.char_indices().find_map(|(at, c)| (c != '{').then_some(at + c.len_utf8()))
        else {
            return;
        };
        let at = start + inside;
        if !self.text.get(start..).is_some_and(|rest| rest.starts_with(raw)) {
            return;
        }
        let write = format!("{{{{''|{}({})}}}}", super::bounds::WRITE, raw.len());
        let begins = self.text.get(..start).unwrap_or_default();
        let tag = begins.trim_end().strip_suffix("%}").and_then(|rest| rest.rsplit_once("{%"));
        let is_raw = tag.is_some_and(|(_, tag)| tag.trim_matches(['-', '+', ' ', '\t', '\r', '\n']) == "raw");
        let write = if is_raw { format!("{{% endraw %}}{write}{{% raw %}}") } else { write };
        self.begin(at, &write);
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(expr)
                | CallArg::Kwarg(_, expr)
                | CallArg::PosSplat(expr)
                | CallArg::KwargSplat(expr) => {
                    self.expression(expr);
                }
            }
        }
    }

    fn expression(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::Slice(s) => {
                let span = s.span();
                self.begin(offset(start(expr)), "((");
                self.expression(&s.expr);
                for part in [&s.start, &s.stop, &s.step].into_iter().flatten() {
                    self.expression(part);
                }
                self.end(offset(span.end_offset), &format!(")|{})", super::bounds::MADE));
            }
            Expr::UnaryOp(s) => self.expression(&s.expr),
            Expr::BinOp(s) => self.operator(s),
            Expr::Compare(s) => {
                self.expression(&s.expr);
                s.ops.iter().for_each(|op| self.expression(&op.expr));
            }
            Expr::IfExpr(s) => {
                self.expression(&s.test_expr);
                self.expression(&s.true_expr);
                s.false_expr.iter().for_each(|expr| self.expression(expr));
            }
            Expr::Filter(s) => {
                s.expr.iter().for_each(|expr| self.expression(expr));
                self.arguments(&s.args);
            }
            Expr::Test(s) => {
                self.expression(&s.expr);
                self.arguments(&s.args);
            }
            Expr::GetAttr(s) => self.expression(&s.expr),
            Expr::GetItem(s) => {
                self.expression(&s.expr);
                self.expression(&s.subscript_expr);
            }
            Expr::Call(s) => {
                self.expression(&s.expr);
                self.arguments(&s.args);
            }
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) if is_literal(expr) => {}
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => {
                let span = expr.span();
                self.begin(offset(span.start_offset), "((");
                self.entries(expr);
                self.end(offset(span.end_offset), &format!(")|{})", super::bounds::MADE));
            }
        }
    }

    /// The entries of a list or map; one of one of them is counted with it.
    fn entries(&mut self, expr: &Expr<'_>) {
        let each = |edits: &mut Self, entry: &Expr<'_>| match entry {
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => edits.entries(entry),
            _ => edits.expression(entry),
        };
        match expr {
            Expr::List(s) => s.items.iter().for_each(|entry| each(self, entry)),
            Expr::Tuple(s) => s.items.iter().for_each(|entry| each(self, entry)),
            Expr::Map(s) => s.keys.iter().chain(&s.values).for_each(|entry| each(self, entry)),
            _ => {}
        }
    }

    /// `a ~ b ~ c` becomes one call, so that a long chain does not nest.
    fn operator(&mut self, binary: &Spanned<minijinja::machinery::ast::BinOp<'_>>) {
        let span = binary.span();
        let bounded = match binary.op {
            BinOpKind::Concat => Some(('~', super::bounds::JOIN)),
            // What a number is added to must be one.
            BinOpKind::Add if !is_number(&binary.left) && !is_number(&binary.right) => {
                Some(('+', super::bounds::ADD))
            }
            BinOpKind::Mul if !is_number(&binary.left) || !is_number(&binary.right) => {
                Some(('*', super::bounds::REPEAT))
            }
            _ => None,
        };
        let Some((sign, filter)) = bounded else {
            self.expression(&binary.left);
            self.expression(&binary.right);
            return;
        };
        let (mut operands, mut left) = (vec![(&binary.right, &binary.left)], &binary.left);
        while let Expr::BinOp(inner) = left
            && matches!(
                (inner.op, sign),
                (BinOpKind::Concat, '~') | (BinOpKind::Add, '+') | (BinOpKind::Mul, '*')
            )
            && inner.span().start_offset == span.start_offset
            && !(sign == '+' && (is_number(&inner.left) || is_number(&inner.right)))
        {
            operands.push((&inner.right, &inner.left));
            left = &inner.left;
        }
        let mut marks = Vec::new();
        for (right, before) in operands.iter().rev() {
            let (from, to) = (offset(before.span().end_offset), offset(right.span().start_offset));
            let found = self.operators.range(from.min(to)..to).find(|(_, (found, _))| *found == sign);
            match found {
                Some((at, (_, end))) => marks.push((*at, *end)),
                // It cannot be told where the operator stands: the whole is left as it is.
                None => {
                    self.expression(&binary.left);
                    self.expression(&binary.right);
                    return;
                }
            }
        }
        let one = super::bounds::ONE;
        self.begin(offset(span.start_offset), "(");
        self.expression(left);
        for (index, ((at, end), (right, _))) in marks.iter().zip(operands.iter().rev()).enumerate() {
            let edit = self.edits.entry(*at).or_default();
            edit.replaced = end - at;
            let open = if index == 0 { format!(")|{one}|{filter}((") } else { format!(")|{one},(") };
            edit.begins.push(open);
            self.expression(right);
        }
        self.end(offset(span.end_offset), &format!(")|{one})"));
    }

    fn apply(self) -> Rewritten {
        let mut done = Rewritten::default();
        let mut at = 0;
        for (position, edit) in self.edits {
            let begin = done.text.len();
            done.stretches.push((begin, at, true));
            done.text.push_str(self.text.get(at..position).unwrap_or_default());
            done.stretches.push((done.text.len(), position, false));
            done.text.push_str(&edit.ends);
            edit.begins.iter().for_each(|text| done.text.push_str(text));
            at = position + edit.replaced;
        }
        done.stretches.push((done.text.len(), at, true));
        done.text.push_str(self.text.get(at..).unwrap_or_default());
        done
    }
}

/// Whether an expression is the same each time.
fn is_literal(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Const(_) => true,
        Expr::List(s) => s.items.iter().all(is_literal),
        Expr::Tuple(s) => s.items.iter().all(is_literal),
        Expr::Map(s) => s.keys.iter().chain(&s.values).all(is_literal),
        _ => false,
    }
}

/// Where an expression begins: the engine's span of `a.b[0]` begins at `[`. Brackets before it may be missing,
/// which is all the same to whoever puts one more there.
fn start(expr: &Expr<'_>) -> u32 {
    match expr {
        Expr::Slice(s) => start(&s.expr),
        Expr::GetAttr(s) => start(&s.expr),
        Expr::GetItem(s) => start(&s.expr),
        Expr::Call(s) => start(&s.expr),
        Expr::Filter(s) => s.expr.as_ref().map_or_else(|| expr.span().start_offset, start),
        Expr::Test(s) => start(&s.expr),
        Expr::IfExpr(s) => start(&s.true_expr),
        Expr::Compare(s) => start(&s.expr),
        _ => expr.span().start_offset,
    }
}

/// Whether an expression can be nothing but a number.
fn is_number(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Const(value) => value.value.kind() == ValueKind::Number,
        Expr::UnaryOp(unary) => matches!(unary.op, UnaryOpKind::Neg),
        Expr::BinOp(binary) => {
            let (left, right) = (&binary.left, &binary.right);
            match binary.op {
                BinOpKind::Sub | BinOpKind::Div | BinOpKind::FloorDiv | BinOpKind::Rem | BinOpKind::Pow => {
                    true
                }
                BinOpKind::Mul => {
                    matches!((left, right), (Expr::Const(_), Expr::Const(_)))
                        && is_number(left)
                        && is_number(right)
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn offset(byte: u32) -> usize {
    usize::try_from(byte).unwrap_or(usize::MAX)
}
