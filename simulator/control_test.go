package simulator_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
)

// A fault for a time ends by itself, but not the one that has taken its place meanwhile.
func TestOrders(t *testing.T) {
	sim := simulator.Start(t, simulator.ModbusFleet(2, 10, simulator.Ports))
	socket := filepath.Join(t.TempDir(), "sim.sock")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sim.Control(ctx, socket) }()
	eventually(t, func() bool { _, err := simulator.StateOf(t.Context(), socket); return err == nil })
	ask := func(o simulator.Order) {
		t.Helper()
		if err := simulator.Ask(t.Context(), socket, o); err != nil {
			t.Fatal(err)
		}
	}
	kind := func(name string) simulator.FaultKind {
		st, err := simulator.StateOf(t.Context(), socket)
		if err != nil {
			t.Fatal(err)
		}
		return st.Faults[name].Kind
	}
	ask(simulator.Order{Device: "m1", Fault: &simulator.Fault{Kind: simulator.Silent}, For: 20 * time.Millisecond})
	ask(simulator.Order{Device: "m2", Fault: &simulator.Fault{Kind: simulator.Silent}, For: 20 * time.Millisecond})
	ask(simulator.Order{Device: "m2", Fault: &simulator.Fault{Kind: simulator.Busy}})
	eventually(t, func() bool { return kind("m1") == "" })
	time.Sleep(50 * time.Millisecond) // longer than the fault that was replaced
	if got := kind("m2"); got != simulator.Busy {
		t.Errorf("m2 has %q, want busy", got)
	}
	ask(simulator.Order{Device: "m2"})
	if got := kind("m2"); got != "" {
		t.Errorf("m2 has %q after it was cleared", got)
	}
	for _, wrong := range []simulator.Order{{}, {Device: "m9"}, {Device: "m1", Server: "m1"}, {Device: "m1", Fault: &simulator.Fault{Kind: "tired"}}} {
		if err := simulator.Ask(t.Context(), socket, wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
