// Package early makes a program that imports it the shim of package confine, where it
// was started as one, before most of its other packages are initialised.
//
// The rule is that nothing happens by import, and this is the exception. What the
// gateway links takes longer to initialise than the shim takes to do its work: the
// compiler of JSON schemas alone compiles its own schemas, every time. By a call in main, the
// start of every driver would pay for that; the start of a confined driver took 5 times
// as long as that of a plain one, and takes 2.3 times as long by this import.
//
// Where packages are initialised in another order one day, the shim is slower and
// nothing else: a test of cmd/fieldloom tells.
package early

import "github.com/fieldloom/fieldloom/core/confine"

var _ = shim()

func shim() struct{} {
	confine.Main()
	return struct{}{}
}
