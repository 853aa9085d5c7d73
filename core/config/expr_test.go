package config_test

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/core/config"
)

func TestExpressions(t *testing.T) {
	for text, want := range map[string]int64{
		"n": 3, "d": 5, "l": 7, "n+1": 4, "20000+n": 20003, "n*2": 6, "1+n*2": 7, "(1+n)*2": 8, "n-1-1": 1, "-n": -3,
		" n + 1 ": 4, "l*100+d*10+n": 753, "--n": 3, "2*-n": -6, "((n))": 3, "9223372036854775807-n+n": math.MaxInt64,
		"n*0*9223372036854775807": 0, "-9223372036854775807-1": math.MinInt64,
	} {
		if got, err := config.EvalExpr(text, 3, 5, 7); err != nil || got != want {
			t.Errorf("%q = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestWrongExpressions(t *testing.T) {
	for text, want := range map[string]string{
		"": "ends where", "n+": "ends where", "+n": "stands where", "n n": "not expected", "n1": "unknown", "1n": "not a whole number",
		"(n": "closing parenthesis", "n)": "not expected", "n/2": "not expected", "99999999999999999999": "not a whole number",
		"9223372036854775807+n": "too large", "-9223372036854775807-n": "too large", "4611686018427387904*2*n": "too large",
		strings.Repeat("(", 50) + "n" + strings.Repeat(")", 50): "too many",
		strings.Repeat("-", 50) + "n":                           "too many",
	} {
		if got, err := config.EvalExpr(text, 3, 5, 7); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q = %d, %v, want an error with %q", text, got, err, want)
		}
	}
}

// oracle is a second evaluation of an expression, made together with its text.
type oracle struct {
	text  string
	value *big.Int // nil: some step does not fit 64 bits
}

func (o oracle) with(op string, p oracle) oracle {
	out := oracle{text: o.text + op + p.text}
	if o.value == nil || p.value == nil {
		return out
	}
	v := new(big.Int)
	switch op {
	case "+":
		v.Add(o.value, p.value)
	case "-":
		v.Sub(o.value, p.value)
	case "*":
		v.Mul(o.value, p.value)
	}
	if v.IsInt64() {
		out.value = v
	}
	return out
}

func drawSum(t *rapid.T, depth int, vars map[string]int64) oracle {
	sum := drawTerm(t, depth, vars)
	for range rapid.IntRange(0, 2).Draw(t, "terms") {
		sum = sum.with(rapid.SampledFrom([]string{"+", "-"}).Draw(t, "op"), drawTerm(t, depth, vars))
	}
	return sum
}

func drawTerm(t *rapid.T, depth int, vars map[string]int64) oracle {
	term := drawFactor(t, depth, vars)
	for range rapid.IntRange(0, 2).Draw(t, "factors") {
		term = term.with("*", drawFactor(t, depth, vars))
	}
	return term
}

func drawFactor(t *rapid.T, depth int, vars map[string]int64) oracle {
	kind := rapid.IntRange(0, 3).Draw(t, "kind")
	switch {
	case kind == 0 && depth > 0:
		inner := drawSum(t, depth-1, vars)
		inner.text = "(" + inner.text + ")"
		return inner
	case kind == 1 && depth > 0:
		inner := drawFactor(t, depth-1, vars)
		return oracle{value: new(big.Int)}.with("-", inner)
	case kind == 2:
		v := rapid.Int64Range(0, math.MaxInt64).Draw(t, "number")
		return oracle{fmt.Sprint(v), big.NewInt(v)}
	}
	name := rapid.SampledFrom([]string{"n", "d", "l"}).Draw(t, "variable")
	return oracle{name, big.NewInt(vars[name])}
}

func TestExpressionsAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vars := map[string]int64{}
		for _, name := range []string{"n", "d", "l"} {
			vars[name] = rapid.OneOf(rapid.Int64(), rapid.Int64Range(-9, 9)).Draw(t, name)
		}
		want := drawSum(t, 3, vars)
		got, err := config.EvalExpr(want.text, vars["n"], vars["d"], vars["l"])
		if want.value == nil {
			if err == nil {
				t.Fatalf("%s = %d, want an error: a step does not fit 64 bits", want.text, got)
			}
			return
		}
		if err != nil || got != want.value.Int64() {
			t.Fatalf("%s = %d, %v, want %s", want.text, got, err, want.value)
		}
	})
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"holding:{n}": "holding:3", "{n}": "3", "{n:03d}": "003", "{n*100:x}": "12c", "{n:02x}{d:d}": "035", "a{n}b{d}c{l}": "a3b5c7",
		// What a driver or a regular expression may mean stays as it is.
		"{}": "{}", "{x}": "{x}", "{address}": "{address}", `\d{3}`: `\d{3}`, `\d{1,3}`: `\d{1,3}`, `\p{L}`: `\p{L}`, `{"n":1}`: `{"n":1}`,
		`{"a":{"b":{n}}}`: `{"a":{"b":3}}`, "{n,2}": "{n,2}", "${env}": "${env}", "{": "{", "}{": "}{", "{value:03d}": "{value:03d}",
		// Doubled braces are the text itself.
		"{{n}}": "{n}", "{{n}}{n}": "{n}3", "{{value}}": "{{value}}", "{{n}": "{3", "{{{n}}}": "{{n}}",
	} {
		if got, err := config.EvalWords(text, 3, 5, 7); err != nil || got != want {
			t.Errorf("%q = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{n", "a{n+1", "{n+}", "{n x}", "{n:}", "{n:s}", "{n:0d}", "{n:099d}", "{n:3d}", "{n:d:d}", "{n:+d}"} {
		if got, err := config.EvalWords(text, 3, 5, 7); err == nil {
			t.Errorf("%q = %q, want an error", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"m": "m", "m[1..3]": "m1 m2 m3", "m[08..10]": "m08 m09 m10", "[1..2]": "1 2", "a[0..1].b": "a0.b a1.b", "m[5..5]": "m5",
		"m[0..1]": "m0 m1", "_x-1.y": "_x-1.y", "9": "9",
	} {
		names, size, err := config.ExpandName(text, 10)
		if got := strings.Join(names, " "); err != nil || got != want || size != int64(len(names)) {
			t.Errorf("%q = %q (%d), %v, want %q", text, got, size, err, want)
		}
	}
	for _, text := range []string{
		"", "-a", ".a", "a b", "a/b", "ä", "a\x00", "m[", "m]", "m[]", "m[..]", "m[1..]", "m[..2]", "m[2..1]", "m[1...2]", "m[-1..2]",
		"m[1..2][1..2]", "m[1..2", "m1..2]", "m[01..2]", "m[1..9999999999999]", "m[1..2]/x", strings.Repeat("x", 128) + "[1..2]",
	} {
		if names, _, err := config.ExpandName(text, 10); err == nil {
			t.Errorf("%q = %q, want an error", text, names)
		}
	}
}

func TestRangesAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(0, 2000).Draw(t, "first")
		last := first + rapid.Int64Range(0, 200).Draw(t, "more")
		width := rapid.IntRange(len(fmt.Sprint(last)), 8).Draw(t, "width")
		if rapid.Bool().Draw(t, "plain") {
			width = 0
		}
		names, size, err := config.ExpandName(fmt.Sprintf("p[%0*d..%0*d]s", width, first, width, last), 1000)
		if err != nil || size != last-first+1 {
			t.Fatalf("size %d, %v", size, err)
		}
		if padded := width > len(fmt.Sprint(first)); !padded {
			width = 0
		}
		for i, name := range names {
			if want := fmt.Sprintf("p%0*ds", width, first+int64(i)); name != want {
				t.Fatalf("name %d is %s, want %s", i, name, want)
			}
		}
	})
}
