package plugin_test

import (
	"github.com/fieldloom/fieldloom/core/plugin"
)

// saturate is a driver that has frames of 100 points without end.
func saturate(string) {
	plugin.ServeBackend(func(in plugin.Inside) plugin.Backend {
		b := newFake(in)
		b.Ring = newFakeRing(0)
		return b
	})
}
