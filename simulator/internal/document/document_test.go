package document_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/simulator/internal/document"
)

// names reads the keys of a mapping with the text of each.
func names(t *testing.T, text string) ([]string, error) {
	t.Helper()
	doc, root, err := document.Parse("f", []byte(text))
	if err != nil {
		return nil, err
	}
	var list []string
	root.Each(func(name string, v document.Value) { list = append(list, name+"="+v.Text()) })
	return list, doc.Err()
}

func TestRanges(t *testing.T) {
	for text, want := range map[string][]string{
		"a: 1":                          {"a=1"},
		"a{n}: x{n}":                    {"a{n}=x{n}"},
		"a[1..3]: \"{n}\"":              {"a1=1", "a2=2", "a3=3"},
		"a[8..9]b: \"{20000+n}/{n-1}\"": {"a8b=20008/7", "a9b=20009/8"},
		"a[3..3]: \"{2*n+1} {1+2*n} {n*n-n} {10-n-n}\"": {"a3=7 7 6 4"},
		"a[3..3]: \"{n+} {m} {n n} {5}\"":               {"a3={n+} {m} {n n} {5}"},
		"a[1..2]: |\n  l{n}\n":                          {"a1=l1\n", "a2=l2\n"},
	} {
		got, err := names(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// All complaints come at once, in the order of the file, each at its place.
func TestComplaints(t *testing.T) {
	doc, root, err := document.Parse("f.yaml", []byte("b: yes please\na: [1, x]\nc: 1h\nd:\n"))
	if err != nil {
		t.Fatal(err)
	}
	ok := root.Fields(map[string]func(document.Value){
		"a": func(v document.Value) { v.List(func(v document.Value) { v.Int(0, 9) }) },
		"b": func(v document.Value) { v.Bool() },
		"d": func(v document.Value) { v.Text() },
	})
	want := strings.Join([]string{
		`f.yaml:1:4: b: true or false is needed here`,
		`f.yaml:2:8: a[1]: "x" is no integer from 0 to 9`,
		`f.yaml:3:1: unknown key "c": it is one of a, b, d`,
		`f.yaml:4:4: d: a text or number is needed here`,
	}, "\n")
	if err := doc.Err(); ok || err == nil || err.Error() != want {
		t.Errorf("%t, %v\nwant\n%s", ok, err, want)
	}
}
