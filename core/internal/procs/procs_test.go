package procs

import (
	"testing"
	"time"
)

// The verdicts on a process that is calm, busy for one look, and calm again.
func TestLook(t *testing.T) {
	at := time.Now()
	f := fitter{at: at}
	used := time.Duration(0)
	look := func(share float64) verdict {
		at = at.Add(every)
		used += time.Duration(share * float64(every))
		return f.look(at, used)
	}
	for i := range quiet - 1 {
		if v := look(0.1); v != stay {
			t.Fatalf("look %d: verdict %d", i, v)
		}
	}
	if v := look(0.3); v != stay { // neither calm nor busy: the count begins anew
		t.Fatalf("a look of 0.3: verdict %d", v)
	}
	for i := range quiet - 1 {
		if v := look(0.2); v != stay {
			t.Fatalf("look %d after 0.3: verdict %d", i, v)
		}
	}
	if v := look(0.2); v != one {
		t.Fatalf("after %d calm looks: verdict %d", quiet, v)
	}
	if v := look(0.45); v != stay {
		t.Fatalf("less than busy on one: verdict %d", v)
	}
	if v := look(0.9); v != all {
		t.Fatalf("busy on one: verdict %d", v)
	}
	if v := look(1.9); v != stay {
		t.Fatalf("busy on all: verdict %d", v)
	}
}
