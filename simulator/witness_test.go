package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// Requests that arrive together are answered in their order, each as if it were alone.
func TestPipelined(t *testing.T) {
	sim := simulator.Start(t, simulator.ModbusFleet(1, 100, simulator.Ports))
	c := dial(t, sim.Addr("m1"))
	var all bytes.Buffer
	const n = 300
	for i := range n {
		all.Write(frame(t, fmt.Sprintf("%04x 0000 0006 01 03 0000 0064", i)))
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = c.Write(all.Bytes()) })
	for i := range n {
		got := answer(t, c)
		if int(got[0])<<8|int(got[1]) != i || slotOf(got) != uint32(i+1) {
			t.Fatalf("answer %d: % x", i, got[:13])
		}
	}
	wg.Wait()
}

// Many clients at once: no slot value is given out twice, and none is left out.
func TestSlotsAmongManyClients(t *testing.T) {
	sim := simulator.Start(t, simulator.ModbusFleet(1, 100, simulator.Ports))
	const clients, polls = 8, 200
	request := frame(t, readAll)
	var mu sync.Mutex
	seen := make(map[uint32]int)
	var wg sync.WaitGroup
	for range clients {
		c := dial(t, sim.Addr("m1"))
		wg.Go(func() {
			reply := make([]byte, 209)
			for range polls {
				_, _ = c.Write(request)
				if !readFull(c, reply) {
					t.Error("a connection ended")
					return
				}
				mu.Lock()
				seen[slotOf(reply)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for slot := uint32(1); slot <= clients*polls; slot++ {
		if seen[slot] != 1 {
			t.Fatalf("slot %d was read %d times", slot, seen[slot])
		}
	}
	if n := sim.Device("m1").Counts(); n.Polls != clients*polls || n.Requests != clients*polls || n.Unserved != 0 {
		t.Errorf("counts %+v", n)
	}
}

// Clients that break off in the middle leave no slot value unaccounted for.
func TestSlotsOfBrokenConnections(t *testing.T) {
	sim := simulator.Start(t, simulator.ModbusFleet(1, 100, simulator.Ports))
	d := sim.Device("m1")
	for range 50 {
		c := dial(t, sim.Addr("m1"))
		for range 20 {
			send(t, c, readAll)
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
	c := dial(t, sim.Addr("m1"))
	// Connections are accepted in order: once this one is answered, all before it are counted.
	ask(t, c, "0001 0000 0006 01 03 0002 0001")
	for sim.Server("m1").Counts().Open > 1 {
		ask(t, c, "0001 0000 0006 01 03 0002 0001")
	}
	slot := uint64(slotOf(ask(t, c, readAll)))
	n := d.Counts()
	if slot != n.Polls+n.Unserved || len(d.Unserved()) != int(n.Unserved) || len(d.PollTimes()) != int(n.Polls) {
		t.Errorf("slot %d, counts %+v", slot, n)
	}
}

func TestThousandDevices(t *testing.T) {
	for _, layout := range []simulator.Layout{simulator.Ports, simulator.Units} {
		sim := simulator.Start(t, simulator.ModbusFleet(1000, 100, layout))
		for _, name := range sim.Witness().Names() {
			d := sim.Device(name)
			c, err := net.Dial("tcp", d.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if got := slotOf(ask(t, c, fmt.Sprintf("0001 0000 0006 %02x 03 0000 0064", d.Unit()))); got != 1 {
				t.Fatalf("%s: slot %d", name, got)
			}
			c.Close()
		}
		if n := sim.Witness().Counts().Total; n.Polls != 1000 || n.Devices != 1000 {
			t.Errorf("total %+v", n)
		}
	}
}

func TestCounts(t *testing.T) {
	img := &simulator.Image{
		Points: []simulator.Point{
			{Name: "slot", Address: "input:0", Type: "uint32", Signal: signal.Slot()},
			{Name: "set", Address: "holding:0", Type: "float32", Writable: true},
		},
		Ranges:  []string{"holding:0-9"},
		Illegal: []string{"holding:5"},
	}
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{
		Name: "s", Protocol: simulator.Modbus, Devices: []simulator.DeviceConfig{{Name: "d", Image: img}},
	}}})
	c := dial(t, sim.Addr("d"))
	for _, request := range []string{
		"0001 0000 0006 07 04 0000 0002",              // a poll; any unit is this one's
		"0002 0000 0006 07 04 0000 0001",              // half of the slot is none
		"0003 0000 0006 07 03 0004 0002",              // exception 2
		"0004 0000 0002 07 2b",                        // exception 1
		"0005 0000 000b 07 10 0000 0002 04 41a8 0000", // 21.0
		"0006 0000 0006 07 06 0008 002a",
	} {
		ask(t, c, request)
	}
	got, ok := sim.Witness().Device("d")
	if !ok || got.First == nil || got.Last == nil {
		t.Fatalf("counts %+v", got)
	}
	got.First, got.Last = nil, nil
	want := simulator.DeviceCounts{
		Requests: 6, Answers: 6, Polls: 1, BytesIn: 12 + 12 + 12 + 8 + 17 + 12, BytesOut: 13 + 11 + 9 + 9 + 12 + 12, Writes: 2,
		Functions: map[string]uint64{"3": 1, "4": 2, "6": 1, "16": 1, "other": 1}, Exceptions: map[string]uint64{"1": 1, "2": 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	writes := sim.Device("d").Writes()
	for i := range writes {
		writes[i].Time = time.Time{}
	}
	if diff := cmp.Diff([]simulator.Write{
		{Point: "set", Value: 21.0, Table: "holding", Address: 0, Words: []uint16{0x41a8, 0}},
		{Value: uint64(42), Table: "holding", Address: 8, Words: []uint16{42}},
	}, writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if _, err := json.Marshal(sim.Witness().Counts()); err != nil {
		t.Error(err)
	}
}

func TestSetAndGet(t *testing.T) {
	sim := simulator.Start(t, simulator.ModbusFleet(1, 10, simulator.Ports))
	d := sim.Device("m1")
	if err := d.Set("r2", 4711); err != nil {
		t.Fatal(err)
	}
	if v, err := d.Get("r2"); err != nil || v != uint64(4711) {
		t.Errorf("r2 is %v, %v", v, err)
	}
	c := dial(t, d.Addr())
	if got := ask(t, c, "0001 0000 0006 01 03 0002 0001"); !bytes.Equal(got, frame(t, "0001 0000 0005 01 03 02 1267")) {
		t.Errorf("r2 reads % x", got)
	}
	for point, value := range map[string]any{"slot": 1, "nowhere": 1, "r3": struct{}{}} {
		if d.Set(point, value) == nil {
			t.Errorf("set %s to %v: no error", point, value)
		}
	}
	if _, err := d.Get("nowhere"); err == nil {
		t.Error("get nowhere: no error")
	}
	if v, err := d.Get("slot"); err != nil || v != uint64(0) {
		t.Errorf("slot is %v, %v", v, err)
	}
}

// The times are those of the requests, one for each poll.
func TestPollTimes(t *testing.T) {
	cfg := simulator.ModbusFleet(1, 10, simulator.Ports)
	cfg.Times = 600
	sim := simulator.Start(t, cfg)
	d := sim.Device("m1")
	c := dial(t, d.Addr())
	before := time.Now()
	for range 700 {
		ask(t, c, readSlot)
	}
	times := d.PollTimes()
	if len(times) != 600 || d.Slot() != 700 {
		t.Fatalf("%d times, %d polls", len(times), d.Slot())
	}
	last := before.Add(-20 * time.Microsecond)
	for i, at := range times {
		if at.Before(last) || at.After(time.Now()) {
			t.Fatalf("time %d is %v, after %v", i, at, last)
		}
		last = at
	}
}

func BenchmarkRequests(b *testing.B) {
	for _, window := range []int{1, 8} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			sim, err := simulator.Run(b.Context(), ptr(simulator.ModbusFleet(1, 100, simulator.Ports)))
			if err != nil {
				b.Fatal(err)
			}
			defer sim.Close()
			c, err := net.Dial("tcp", sim.Addr("m1"))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			request := bytes.Repeat(frame(b, readAll), window)
			answers := make([]byte, 209*window)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < len(answers); {
					m, err := c.Read(answers[n:])
					if err != nil {
						b.Fatal(err)
					}
					n += m
				}
			}
			b.ReportMetric(float64(b.N*window)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

func ptr[T any](v T) *T { return &v }
