package document

import (
	"regexp"
	"strconv"
	"strings"
)

// sum is what may stand in braces: numbers and n with + - and *, without blanks, at least one
// of them n.
var sum = regexp.MustCompile(`\{((?:\d{1,9}[+*-])*n(?:[+*-](?:\d{1,9}|n))*)\}`)

// expand fills in {n} and sums with it. Outside of a range the text stays as it is.
func (v Value) expand(text string) string {
	if v.n == nil || !strings.Contains(text, "{") {
		return text
	}
	return sum.ReplaceAllStringFunc(text, func(braces string) string {
		return strconv.Itoa(evaluate(braces[1:len(braces)-1], *v.n))
	})
}

// evaluate works out a sum of products. What is too large for an int wraps around, and is then
// refused where it is used.
func evaluate(text string, n int) int {
	total, product, sign := 0, 1, 1
	for text != "" {
		end := strings.IndexAny(text, "+-*")
		if end < 0 {
			end = len(text)
		}
		factor := n
		if text[:end] != "n" {
			factor, _ = strconv.Atoi(text[:end])
		}
		product *= factor
		if end == len(text) {
			break
		}
		if op := text[end]; op != '*' {
			total += sign * product
			product, sign = 1, 1
			if op == '-' {
				sign = -1
			}
		}
		text = text[end+1:]
	}
	return total + sign*product
}
