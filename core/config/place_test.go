package config_test

import (
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
)

// A place stays right after everything that may confuse a parser's counting of
// lines and columns. The wrong value, WRONG, is at the place that is wanted.
func TestPlaces(t *testing.T) {
	for _, text := range []string{
		"gateway: g # c\n# c\n\n# d\nspool: WRONG\n",
		"gateway: |-\n  a\n\nspool: WRONG\n",
		"gateway: \"a\\\n  b\"\nspool: WRONG\n",
		"data: 'a\n  b'\n\n\nspool: WRONG\n",
		"data: a\n  b\n  c\nspool: WRONG\n",
		"data: >-\n  a\n\n  b\n# x\nspool: WRONG\n",
		"gateway: g\r\n\r\n# c\r\nspool: WRONG\r\n",
		"---\ngateway: g\nspool: WRONG\n",
		"\xef\xbb\xbfspool: WRONG\n",
		"data: ü€𝄞 # ü\n\"spool\": WRONG\n",
		"links:\n  # c\n  l:\n    # d\n\n    driver: x # e\n    # f\n    timeout: WRONG\n",
		"links:\n  l:\n    driver: x\n    text: |\n      a: b\n       c\n\n    timeout: WRONG\n",
		"links:\n  l:\n    driver: x\n    text: |2\n        a\n      b\n    timeout: WRONG\n",
		"links:\n  l:\n    driver: x\n    text: |+\n      a\n\n\n    timeout: WRONG\n",
		"links:\n  l:\n    driver: x\n    list:\n      - a\n      - b: 1\n        c: 2\n    timeout: WRONG\n",
		"links:\n  l:\n    driver: x\n    list:\n    - a\n    - |\n      text\n    - b\n    timeout: WRONG\n",
		"links: {l: {driver: x, text: \"ü€𝄞\", timeout: WRONG}}\n",
		"links:\n  l: {driver: x, text: 'it''s',\n    # c\n    timeout: WRONG}\n",
	} {
		before, _, _ := strings.Cut(strings.TrimPrefix(text, "\xef\xbb\xbf"), "WRONG")
		line := 1 + strings.Count(before, "\n")
		column := 1 + len([]rune(before[strings.LastIndex(before, "\n")+1:]))
		_, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
		all, ok := err.(config.Errors) //nolint:errorlint // Parse promises the type itself
		if !ok || len(all) != 1 || all[0].Line != line || all[0].Column != column {
			t.Errorf("%q: want one error at %d:%d, got %v", text, line, column, err)
		}
	}
}
