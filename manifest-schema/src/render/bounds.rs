//! How much a template may make: no value of more than 16 MiB, and 128 MiB in all.
//!
//! Why: the engine counts steps, and one step can double a text. What must stay true: a size is known before the
//! memory is taken, for everything whose result can be larger than what goes in: the operators `~`, `+`, `*` and
//! slices, lists and maps (which [`super::rewrite`] turns into the filters here), all filters that make texts or lists, `dict`, `namespace`, and
//! what `{{ … }}` and literal text write, into a macro's result too. All that is ever made is added up, so it does
//! not matter what a template keeps. Nor can lists be nested so deep that the engine's own recursion, which writes
//! and frees them, runs out of stack. What is left are numbers and the like that steps make one by one, and literal
//! text of less than 64 bytes: some hundred bytes each, for [`crate::limits::TEMPLATE_FUEL`] steps.

use crate::limits;
use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Expression, State, UndefinedBehavior, Value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Largest value.
pub(super) const MAX_VALUE_BYTES: usize = limits::MAX_RENDERED_BYTES;

/// All values of one rendering together: the largest output, written, and gathered by macros some times over.
const MAX_MADE_BYTES: usize = 8 * MAX_VALUE_BYTES;

/// What a value costs besides its text.
const VALUE_BYTES: usize = 16;

/// Lists and maps in each other: the engine writes them with a call for each level.
const MAX_DEPTH: usize = 100;

/// What is said of too large a value, by which it is known again.
pub(super) const TOO_LARGE: &str = "the template makes a value of more than 16 MiB";
/// What is said of too many values.
pub(super) const TOO_MUCH: &str = "the template makes values of more than 128 MiB in all";
/// What is said of a list in a list in a list.
pub(super) const TOO_DEEP: &str = "the template nests lists and maps more than 100 deep";

pub(super) const ONE: &str = "ferry__one";
pub(super) const JOIN: &str = "ferry__join";
pub(super) const ADD: &str = "ferry__add";
pub(super) const REPEAT: &str = "ferry__repeat";
pub(super) const MADE: &str = "ferry__made";
pub(super) const WRITE: &str = "ferry__write";

fn refusal(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// What one rendering has made so far, in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<AtomicUsize>);

impl Meter {
    /// Counts what is about to be made.
    fn spend(&self, bytes: usize) -> Result<(), Error> {
        if bytes > MAX_VALUE_BYTES {
            return Err(refusal(TOO_LARGE));
        }
        match self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) {
            all if all > MAX_MADE_BYTES => Err(refusal(TOO_MUCH)),
            _ => Ok(()),
        }
    }

    /// Counts what `{{ … }}` is about to write.
    pub(super) fn write(&self, value: &Value) -> Result<(), Error> {
        match value.as_str() {
            Some(text) => self.spend(text.len()),
            None => self.spend(size(value, 0)?),
        }
    }

    /// Gives `environment` the bounded filters, in place of the engine's own.
    pub(super) fn install(&self, environment: &mut Environment<'_>) {
        environment.add_filter(ONE, one);
        let meter = self.clone();
        environment.add_filter(JOIN, move |first: &Value, rest: Rest<Value>| join(&meter, first, &rest));
        let meter = self.clone();
        environment.add_filter(ADD, move |first: &Value, rest: Rest<Value>| add(&meter, first, &rest));
        let meter = self.clone();
        environment.add_filter(REPEAT, move |first: &Value, rest: Rest<Value>| repeat(&meter, first, &rest));
        let meter = self.clone();
        environment.add_filter(MADE, move |value: Value| {
            meter.spend(size(&value, 0)?)?;
            Ok::<_, Error>(value)
        });
        let meter = self.clone();
        environment.add_filter(WRITE, move |text: Value, bytes: usize| {
            meter.spend(bytes.min(MAX_VALUE_BYTES))?;
            Ok::<_, Error>(text)
        });
        let meter = self.clone();
        environment.add_function("dict", move |value: Option<Value>, more: Kwargs| {
            let made = minijinja::functions::dict(value, more)?;
            meter.spend(size(&made, 0)?)?;
            Ok::<_, Error>(made)
        });
        let meter = self.clone();
        environment.add_function("namespace", move |values: Option<ValueOrKwargs>| {
            let made = minijinja::functions::namespace(values)?;
            meter.spend(size(&made, 0)?)?;
            Ok::<_, Error>(made)
        });
        self.install_filters(environment);
    }

    fn install_filters(&self, environment: &mut Environment<'_>) {
        macro_rules! bounded {
            ($($name:ident)*) => {$(
                let original = concat!("ferry__own_", stringify!($name));
                environment.add_filter(original, minijinja::filters::$name);
                let meter = self.clone();
                environment.add_filter(stringify!($name), move |state: &mut State, args: Rest<ValueOrKwargs>| {
                    meter.filter(state, stringify!($name), original, &args.into_values())
                });
            )*};
        }
        bounded! {
            batch capitalize chain dictsort escape format groupby indent items join lines list lower map pprint
            reject rejectattr replace reverse safe select selectattr slice sort split string sum title tojson trim
            unique upper urlencode zip
        }
        let meter = self.clone();
        environment.add_filter("e", move |state: &mut State, args: Rest<ValueOrKwargs>| {
            meter.filter(state, "escape", "ferry__own_escape", &args.into_values())
        });
    }

    fn filter(
        &self,
        state: &mut State<'_, '_>,
        name: &str,
        original: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let indent = match name {
            "tojson" => number(args, 1, "indent").unwrap_or(2),
            "pprint" => 4,
            _ => 0,
        };
        let mut bytes = 0_usize;
        for arg in args {
            bytes = bytes.saturating_add(size(arg, indent)?);
        }
        self.spend(bytes.saturating_add(growth(name, args)))?;
        let value = state.apply_filter(original, args)?;
        self.spend(size(&value, 0)?)?;
        Ok(value)
    }
}

/// How many bytes more than its arguments a filter makes.
fn growth(name: &str, args: &[Value]) -> usize {
    let text = |at: usize| args.get(at).and_then(Value::as_str);
    let value = text(0).unwrap_or_default();
    let times = |count: usize, bytes: usize| count.saturating_mul(bytes);
    match name {
        "replace" => {
            let count = match text(1) {
                Some("") | None => value.len() + 1,
                Some(from) => value.matches(from).count(),
            };
            times(count, text(2).map_or(VALUE_BYTES, str::len))
        }
        "indent" => times(value.matches('\n').count() + 2, number(args, 1, "width").unwrap_or(4)),
        "join" => {
            let between = text(1).map(str::len).or_else(|| kwarg(args, "d")?.as_str().map(str::len));
            times(args.first().and_then(Value::len).unwrap_or(value.len()), between.unwrap_or_default())
        }
        // Each width and precision is a run of digits, or an argument where a `*` stands.
        "format" => {
            let widths = value.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
            let widths = widths.map(|digits| digits.parse().unwrap_or(usize::MAX));
            let given = args.iter().skip(1).filter(|_| value.contains('*'));
            let given = given
                .filter_map(Value::as_i64)
                .map(|width| usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX));
            // A float is written with all of its digits.
            widths.chain(given).fold(times(args.len(), 400), usize::saturating_add)
        }
        "batch" => times(number(args, 1, "count").unwrap_or_default(), VALUE_BYTES),
        "slice" => times(number(args, 1, "count").unwrap_or_default(), 2 * VALUE_BYTES),
        "split" => match text(1) {
            Some(between) if !between.is_empty() => times(value.matches(between).count(), VALUE_BYTES),
            Some(_) => times(value.len(), VALUE_BYTES),
            None => times(value.len() / 2, VALUE_BYTES),
        },
        "lines" => times(value.matches('\n').count(), VALUE_BYTES),
        "escape" | "tojson" | "pprint" => times(value.len(), 2),
        "urlencode" => times(value.len(), 2),
        // A list of its characters.
        "list" | "sort" | "unique" | "map" | "select" | "reject" | "chain" | "zip" => {
            times(value.len(), VALUE_BYTES)
        }
        _ => 0,
    }
}

fn kwarg(args: &[Value], name: &str) -> Option<Value> {
    let last = args.last().filter(|last| last.kind() == ValueKind::Map)?;
    last.get_attr(name).ok().filter(|value| !value.is_undefined())
}

/// A number that is given by place or by name.
fn number(args: &[Value], at: usize, name: &str) -> Option<usize> {
    let value = args.get(at).filter(|value| value.kind() == ValueKind::Number).cloned();
    value.or_else(|| kwarg(args, name)).and_then(|value| value.as_usize())
}

/// About how many bytes a value has, and its text; `indent` is what each level of it is indented by.
fn size(value: &Value, indent: usize) -> Result<usize, Error> {
    let mut bytes = 0;
    measure(value, 0, indent, &mut bytes)?;
    Ok(bytes)
}

fn measure(value: &Value, depth: usize, indent: usize, bytes: &mut usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(refusal(TOO_DEEP));
    }
    let own = value.as_str().map(str::len).or_else(|| value.as_bytes().map(<[u8]>::len)).unwrap_or_default();
    *bytes =
        bytes.saturating_add(own).saturating_add(VALUE_BYTES).saturating_add(depth.saturating_mul(indent));
    if *bytes > MAX_VALUE_BYTES {
        return Err(refusal(TOO_LARGE));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                measure(&item, depth + 1, indent, bytes)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                measure(&key, depth + 1, indent, bytes)?;
                if let Ok(item) = value.get_item(&key) {
                    measure(&item, depth + 1, indent, bytes)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// An operand: it is told here that it has no value, so that the message names this one.
fn one(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(value.clone()) }
}

/// `a ~ b ~ c`.
fn join(meter: &Meter, first: &Value, rest: &[Value]) -> Result<Value, Error> {
    let mut bytes = 0_usize;
    for value in std::iter::once(first).chain(rest) {
        bytes = bytes.saturating_add(match value.as_str() {
            Some(text) => text.len(),
            None => size(value, 0)?,
        });
    }
    meter.spend(bytes)?;
    let mut text = String::new();
    for value in std::iter::once(first).chain(rest) {
        match value.as_str() {
            Some(part) => text.push_str(part),
            None => text.push_str(&value.to_string()),
        }
    }
    Ok(Value::from(text))
}

/// `a + b + c`.
fn add(meter: &Meter, first: &Value, rest: &[Value]) -> Result<Value, Error> {
    rest.iter().try_fold(first.clone(), |sum, value| {
        if let (Some(a), Some(b)) = (sum.as_str(), value.as_str()) {
            meter.spend(a.len().saturating_add(b.len()))?;
        }
        let done = evaluate(&SUM, &sum, value)?;
        if done.as_str().is_none() && done.kind() != ValueKind::Number {
            meter.spend(size(&done, 0)?)?;
        }
        Ok(done)
    })
}

/// `a * b * c`.
fn repeat(meter: &Meter, first: &Value, rest: &[Value]) -> Result<Value, Error> {
    rest.iter().try_fold(first.clone(), |product, value| {
        for (value, count) in [(&product, value), (value, &product)] {
            if let (false, Some(count)) = (value.kind() == ValueKind::Number, count.as_usize()) {
                let bytes = match value.as_str() {
                    Some(text) => text.len(),
                    None => size(value, 0)?,
                };
                meter.spend(bytes.saturating_mul(count))?;
            }
        }
        evaluate(&PRODUCT, &product, value)
    })
}

/// The engine's own operators, which it gives only to expressions.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
});
type Operator = LazyLock<Result<Expression<'static, 'static>, String>>;
static SUM: Operator =
    LazyLock::new(|| ENGINE.compile_expression("a + b").map_err(|error| error.to_string()));
static PRODUCT: Operator =
    LazyLock::new(|| ENGINE.compile_expression("a * b").map_err(|error| error.to_string()));

fn evaluate(operator: &Operator, a: &Value, b: &Value) -> Result<Value, Error> {
    let compiled =
        (**operator).as_ref().map_err(|why| Error::new(ErrorKind::InvalidOperation, why.clone()))?;
    compiled.eval(minijinja::context! { a, b }).map_err(|error| {
        // Without the place in that little expression.
        let detail = error.detail().map(str::to_owned);
        detail.map_or_else(|| Error::from(error.kind()), |detail| Error::new(error.kind(), detail))
    })
}
