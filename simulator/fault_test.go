package simulator_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
)

const readSlot = "0001 0000 0006 01 03 0000 0002"

// faulty starts one device and puts it under a fault.
func faulty(t *testing.T, f simulator.Fault) (*simulator.Simulator, *simulator.Device, net.Conn) {
	t.Helper()
	sim := simulator.Start(t, simulator.ModbusFleet(1, 100, simulator.Ports))
	d := sim.Device("m1")
	c := dial(t, d.Addr())
	if got := slotOf(ask(t, c, readSlot)); got != 1 {
		t.Fatalf("slot %d before the fault", got)
	}
	if err := d.Fault(f); err != nil {
		t.Fatal(err)
	}
	return sim, d, c
}

// healed clears the fault and checks that the polls under it counted as want says.
func healed(t *testing.T, d *simulator.Device, c net.Conn, want uint32) {
	t.Helper()
	d.Clear()
	if got := slotOf(ask(t, c, readSlot)); got != want {
		t.Errorf("slot %d after the fault, want %d", got, want)
	}
	if got := d.Slot(); got != uint64(want) {
		t.Errorf("the witness counts %d polls, want %d", got, want)
	}
}

func send(t *testing.T, c net.Conn, request string) {
	t.Helper()
	if _, err := c.Write(frame(t, request)); err != nil {
		t.Fatal(err)
	}
}

func TestSilent(t *testing.T) {
	_, d, c := faulty(t, simulator.Fault{Kind: simulator.Silent})
	send(t, c, readSlot)
	for d.Counts().Requests < 2 {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	healed(t, d, c, 2)
	if n := d.Counts(); n.Requests != 3 || n.Answers != 2 {
		t.Errorf("counts %+v", n)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestSlow(t *testing.T) {
	_, d, c := faulty(t, simulator.Fault{Kind: simulator.Slow, Delay: 50 * time.Millisecond})
	start := time.Now()
	if got := slotOf(ask(t, c, readSlot)); got != 2 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("slot %d after %v", got, time.Since(start))
	}
	healed(t, d, c, 3)
}

func TestDrip(t *testing.T) {
	_, d, c := faulty(t, simulator.Fault{Kind: simulator.Drip, Delay: 5 * time.Millisecond})
	start := time.Now()
	if got := slotOf(ask(t, c, readSlot)); got != 2 || time.Since(start) < 12*5*time.Millisecond {
		t.Errorf("slot %d after %v", got, time.Since(start))
	}
	healed(t, d, c, 3)
}

func TestDripGivenUp(t *testing.T) {
	sim, d, c := faulty(t, simulator.Fault{Kind: simulator.Drip, Delay: time.Hour})
	send(t, c, readSlot)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if d.Slot() != 1 {
		t.Error("a poll is counted of which one byte is sent")
	}
	if err := sim.Close(); err != nil {
		t.Error(err)
	}
	if n := d.Counts(); n.Polls != 1 || n.Unserved != 0 {
		t.Errorf("counts %+v", n)
	}
}

func TestGarbage(t *testing.T) {
	_, d, c := faulty(t, simulator.Fault{Kind: simulator.Garbage})
	send(t, c, readSlot)
	got := make([]byte, 13)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got[:7], frame(t, "0001 0000 0007 01")) {
		t.Errorf("garbage has a good header: % x", got)
	}
	healed(t, d, c, 2)
}

func TestCut(t *testing.T) {
	_, d, c := faulty(t, simulator.Fault{Kind: simulator.Cut})
	send(t, c, readSlot)
	got, err := io.ReadAll(c)
	if len(got) != 6 || err != nil {
		t.Errorf("% x, %v", got, err)
	}
	healed(t, d, dial(t, d.Addr()), 2)
}

func TestHalf(t *testing.T) {
	_, d, c := faulty(t, simulator.Fault{Kind: simulator.Half})
	send(t, c, readSlot)
	half := make([]byte, 6)
	if _, err := io.ReadFull(c, half); err != nil {
		t.Fatal(err)
	}
	healed(t, d, c, 2)
}

func TestExceptionUnitTransaction(t *testing.T) {
	for _, x := range []struct {
		fault simulator.Fault
		want  string
	}{
		{simulator.Fault{Kind: simulator.Exception, Code: 6}, "0001 0000 0003 01 83 06"},
		{simulator.Fault{Kind: simulator.Exception}, "0001 0000 0003 01 83 04"},
		{simulator.Fault{Kind: simulator.Unit}, "0001 0000 0007 02 03 04 0000 0002"},
		{simulator.Fault{Kind: simulator.Transaction}, "0002 0000 0007 01 03 04 0000 0002"},
	} {
		_, d, c := faulty(t, x.fault)
		if got := ask(t, c, readSlot); !bytes.Equal(got, frame(t, x.want)) {
			t.Errorf("%s: % x, want %s", x.fault.Kind, got, x.want)
		}
		healed(t, d, c, 2)
	}
}

func TestRefused(t *testing.T) {
	sim, d, c := faulty(t, simulator.Fault{Kind: simulator.Slow, Delay: time.Millisecond})
	srv, addr := sim.Server("m1"), d.Addr()
	for range 3 {
		if err := srv.Fault(simulator.Fault{Kind: simulator.Refused}); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Error("the connection is open")
		}
		if other, err := net.Dial("tcp", addr); err == nil {
			t.Error("a connection was taken")
			other.Close()
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v", err)
		}
		if err := srv.Clear(); err != nil {
			t.Fatal(err)
		}
		c = dial(t, addr)
	}
	healed(t, d, c, 2)
}

// One of the units of a shared connection is dead; the others are not held up.
func TestDeadUnitAmongOthers(t *testing.T) {
	sim := simulator.Start(t, simulator.ModbusFleet(3, 100, simulator.Units))
	if err := sim.Device("m2").Fault(simulator.Fault{Kind: simulator.Silent}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, sim.Addr("modbus1"))
	send(t, c, "0001 0000 0006 01 03 0000 0002  0002 0000 0006 02 03 0000 0002  0003 0000 0006 03 03 0000 0002")
	for _, want := range []string{"0001 0000 0007 01 03 04 0000 0001", "0003 0000 0007 03 03 04 0000 0001"} {
		if got := answer(t, c); !bytes.Equal(got, frame(t, want)) {
			t.Errorf("% x, want %s", got, want)
		}
	}
	if n := sim.Server("modbus1").Counts(); n.AtOnce > 3 || n.Connections != 1 {
		t.Errorf("counts %+v", n)
	}
	if got := ask(t, c, "0004 0000 0006 09 03 0000 0002"); !bytes.Equal(got, frame(t, "0004 0000 0003 09 83 0b")) {
		t.Errorf("no such unit: % x", got)
	}
}

func TestFaultsThatDoNotFit(t *testing.T) {
	cfg := simulator.ModbusFleet(1, 10, simulator.Ports)
	cfg.Servers = append(cfg.Servers, simulator.MQTTFleet(1, time.Second).Servers...)
	sim := simulator.Start(t, cfg)
	for _, err := range []error{
		sim.Device("m1").Fault(simulator.Fault{Kind: simulator.Refused}),
		sim.Device("d1").Fault(simulator.Fault{Kind: simulator.Exception}),
		sim.Server("mqtt").Fault(simulator.Fault{Kind: "tired"}),
		sim.Device("m1").Fault(simulator.Fault{Kind: simulator.Slow, Delay: -1}),
	} {
		if err == nil || !strings.Contains(err.Error(), "fault") {
			t.Errorf("error %v", err)
		}
	}
}

func TestSchedule(t *testing.T) {
	cfg := simulator.ModbusFleet(2, 10, simulator.Ports)
	cfg.Schedule = []simulator.Scheduled{
		{Device: "m1", Fault: simulator.Fault{Kind: simulator.Exception, Code: 6}, For: 100 * time.Millisecond},
		{Server: "m2", Fault: simulator.Fault{Kind: simulator.Transaction}, At: 50 * time.Millisecond},
	}
	sim := simulator.Start(t, cfg)
	m1, m2 := dial(t, sim.Addr("m1")), dial(t, sim.Addr("m2"))
	until := func(c net.Conn, what string, ok func(reply []byte) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(ask(t, c, readSlot)); {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	until(m1, "exception 6", func(r []byte) bool { return r[7] == 0x83 && r[8] == 6 })
	until(m1, "well again", func(r []byte) bool { return r[7] == 3 })
	until(m2, "another transaction", func(r []byte) bool { return r[1] == 2 })
	if time.Since(sim.Started()) < 100*time.Millisecond {
		t.Error("the schedule ran ahead")
	}
}

// The same seed, asked the same, is the same run, with what its faults make up.
func TestSameSeedSameRun(t *testing.T) {
	run := func(seed uint64) (all []byte) {
		sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{
			Name: "s", Protocol: simulator.Modbus, Devices: []simulator.DeviceConfig{{Name: "d", Unit: 1, Seed: seed, Image: simulator.StandardImage(10)}},
		}}})
		for _, kind := range []simulator.FaultKind{simulator.Garbage, simulator.Prefix} {
			if err := sim.Device("d").Fault(simulator.Fault{Kind: kind}); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("tcp", sim.Addr("s"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1}); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 11) // of the answer, or of what is before it and of its begin
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	if a, b := run(7), run(7); !bytes.Equal(a, b) {
		t.Errorf("two runs of one seed: % x and % x", a, b)
	}
	if a, b := run(7), run(8); bytes.Equal(a, b) {
		t.Errorf("two seeds make up the same: % x", a)
	}
}
