package field_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

func fault(t *testing.T, set func(simulator.Fault) error, f simulator.Fault) {
	t.Helper()
	if err := set(f); err != nil {
		t.Fatal(err)
	}
}

// The adapter swallows every request in the first seconds of a connection.
func TestConnectWarmup(t *testing.T) {
	t.Parallel()
	for _, deaf := range []time.Duration{2 * time.Second, 5 * time.Second} {
		t.Run(deaf.String(), func(t *testing.T) {
			t.Parallel()
			sim := modbus(t, "", unit("inv", 1, map[int]uint16{0: 0, 1: 4200}))
			fault(t, sim.Server("plc").Fault, simulator.Fault{Kind: simulator.Deaf, Delay: deaf})
			f := start(t, "01-connect-warmup", portOf(sim))
			f.wait("inv", "power", deaf+8*time.Second)
			f.mustBeGood(f.gather("inv", "power", 4, 10*time.Second))
			if n := sim.Server("plc").Counts().Connections; n > 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// The device closes the connection after every answer: no poll is bad, and nobody is told.
func TestClosesAfterAnswer(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("plc1", 1, map[int]uint16{0: 17, 1: 18}))
	fault(t, sim.Device("plc1").Fault, simulator.Fault{Kind: simulator.Once})
	f := start(t, "03-closes-after-answer", portOf(sim))
	f.wait("plc", "a", 10*time.Second)
	f.mustBeGood(f.gather("plc", "a", 8, 20*time.Second))
	f.mustBeGood(f.samples("plc", "*"))
	f.quiet()
}

// The connection is cut again and again between the polls, or reset when it is asked.
func TestConnectionsThatBreak(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("plc1", 1, map[int]uint16{0: 17, 1: 18}))
	f := start(t, "03-closes-after-answer", portOf(sim))
	f.wait("plc", "a", 10*time.Second)
	for range 5 {
		sim.Server("plc").Cut()
		f.gather("plc", "a", 1, 10*time.Second)
	}
	f.mustBeGood(f.samples("plc", "*"))
	f.quiet()
}

// The device takes one connection only.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("u1", 1, map[int]uint16{0: 17, 1: 18}), unit("u2", 2, map[int]uint16{0: 17, 1: 18}))
	fault(t, sim.Server("plc").Fault, simulator.Fault{Kind: simulator.Single})
	f := start(t, "05-one-connection", portOf(sim))
	f.wait("u1", "a", 10*time.Second)
	f.wait("u2", "a", 10*time.Second)
	for i := range 3 {
		f.write("case/u1/b", fmt.Sprint(i))
	}
	for _, word := range []string{"offline", "online"} {
		if _, err := f.g.CLI(word, "case"); err != nil {
			t.Error(err)
		}
	}
	f.mustBeGood(f.gather("u2", "a", 3, 10*time.Second))
	if n := len(sim.Device("u1").Writes()); n != 3 {
		t.Errorf("%d writes, want 3", n)
	}
}

// The device answers every request with the transaction id 0.
func TestTransactionZero(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("dev", 1, map[int]uint16{0: 0x41AC, 1: 0}))
	fault(t, sim.Device("dev").Fault, simulator.Fault{Kind: simulator.NoTransaction})
	f := start(t, "06-transaction-zero", portOf(sim))
	if got := f.wait("dev", "t", 10*time.Second); got != "21.5" {
		t.Errorf("t is %s", got)
	}
}

// A gateway device answers now and then under another unit id.
func TestWrongUnitInAnswer(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("d1", 1, map[int]uint16{0: 330}), unit("d19", 19, map[int]uint16{0: 331}))
	fault(t, sim.Device("d19").Fault, simulator.Fault{Kind: simulator.Unit, Every: 4})
	f := start(t, "07-wrong-unit-in-answer", portOf(sim))
	f.wait("u19", "a", 10*time.Second)
	f.mustBeGood(f.gather("u1", "a", 12, 20*time.Second))
	f.mustBe(f.samples("u1", "a"), "330")
	all := f.samples("u19", "a")
	f.mustBe(all, "331")
	bad := 0
	for _, s := range all {
		if s.Quality != "good" && strings.Contains(s.Fault, "unit id") {
			bad++
		}
	}
	if bad == 0 {
		t.Error("no sample says that another unit answered")
	}
}

// The length in the header is one too large now and then.
func TestLengthOffByOne(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("d", 1, map[int]uint16{0: 1, 1: 4464, 100: 1, 101: 4564, 200: 1, 201: 4664}))
	// Not 3: a poll has three requests, and the same one would fail in each.
	fault(t, sim.Device("d").Fault, simulator.Fault{Kind: simulator.Length, Every: 4})
	f := start(t, "08-length-off-by-one", portOf(sim))
	for _, at := range []int{0, 100, 200} {
		f.mustBe(f.gather("dev", fmt.Sprintf("r%d", at), 3, 20*time.Second), fmt.Sprint(70000+at))
	}
}

// Answers come a byte at a time.
func TestFragments(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("d", 1, map[int]uint16{0: 0x5375, 1: 0x6E53}))
	fault(t, sim.Device("d").Fault, simulator.Fault{Kind: simulator.Drip, Delay: 3 * time.Millisecond})
	f := start(t, "10-fragments", portOf(sim))
	f.wait("inv", "id", 10*time.Second)
	all := f.gather("inv", "id", 5, 10*time.Second)
	f.mustBeGood(all)
	f.mustBe(all, fmt.Sprint(0x53756E53))
}

// A register in the middle does not exist.
func TestGapInRegisters(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("d", 1, map[int]uint16{11174: 1, 11176: 2, 11177: 3}))
	f := start(t, "12-gap-in-registers", portOf(sim))
	device := deviceOf(f)
	for i, p := range []string{"a", "b", "c"} {
		if got := f.wait(device, p, 10*time.Second); got != fmt.Sprint(i+1) {
			t.Errorf("%s is %s", p, got)
		}
	}
	before := sim.Device("d").Counts().Exceptions["2"]
	f.mustBeGood(f.gather(device, "a", 5, 10*time.Second))
	if after := sim.Device("d").Counts().Exceptions["2"]; after != before {
		t.Errorf("%d requests still read across the hole", after-before)
	}
}

// deviceOf is the device of a link with one.
func deviceOf(f *field) string {
	for _, s := range f.g.Stored("*/*/*") {
		return s.Device
	}
	var name string
	for name == "" {
		for _, s := range f.g.Stored("*/*/*") {
			name = s.Device
		}
	}
	return name
}

// The meter refuses requests of more than 50 registers.
func TestFiftyAtMost(t *testing.T) {
	t.Parallel()
	registers := map[int]uint16{}
	for at := range 80 {
		registers[at] = uint16(1000 + at)
	}
	sim := modbus(t, "", unit("d1", 1, registers), unit("d2", 2, registers))
	fault(t, sim.Device("d1").Fault, simulator.Fault{Kind: simulator.Most, Most: 50, Code: 2})
	fault(t, sim.Device("d2").Fault, simulator.Fault{Kind: simulator.Most, Most: 50, Code: 3})
	f := start(t, "14-fifty-at-most", portOf(sim))
	for _, d := range []string{"m1", "m2"} {
		for _, p := range []string{"r0", "r79"} {
			f.wait(d, p, 15*time.Second)
		}
	}
	refused := func() uint64 {
		return sim.Device("d1").Counts().Exceptions["2"] + sim.Device("d2").Counts().Exceptions["3"]
	}
	f.gather("m1", "r40", 4, 10*time.Second)
	before := refused()
	f.mustBeGood(f.gather("m2", "r40", 5, 10*time.Second))
	if after := refused(); after != before {
		t.Errorf("%d requests are still too large", after-before)
	}
}

// One of three ranges is busy, silent, or refused: the others go on at their full rate, whatever
// their order.
func TestOneRangeFails(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 100, 200} {
		for _, what := range []simulator.Fault{{Kind: simulator.Busy}, {Kind: simulator.Silent}, {Kind: simulator.Exception, Code: 4}, {Kind: simulator.Exception, Code: 10}} {
			t.Run(fmt.Sprintf("%s %d at %d", what.Kind, what.Code, at), func(t *testing.T) {
				t.Parallel()
				sim := modbus(t, "", unit("d", 1, map[int]uint16{0: 0, 100: 100, 200: 200}))
				what.Range = fmt.Sprintf("holding:%d", at)
				fault(t, sim.Device("d").Fault, what)
				f := start(t, "18-one-range-busy", portOf(sim))
				for _, other := range []int{0, 100, 200} {
					if other == at {
						continue
					}
					p := fmt.Sprintf("r%d", other)
					f.wait("inv", p, 10*time.Second)
					began := time.Now()
					all := f.gather("inv", p, 4, 20*time.Second)
					f.mustBeGood(all)
					rate := float64(len(all)) / time.Since(began).Seconds()
					t.Logf("%s: %.1f samples a second, its period is 500 ms", p, rate)
				}
				bad := f.samples("inv", fmt.Sprintf("r%d", at))
				if n, _ := good(bad); n > 0 || len(bad) == 0 || !strings.Contains(bad[len(bad)-1].Fault, fmt.Sprint(at)) {
					t.Errorf("r%d has %d good of %d samples, the last: %+v", at, n, len(bad), bad[max(0, len(bad)-1):])
				}
			})
		}
	}
}

// The bus needs a pause between an answer and the next request.
func TestPauseBetweenRequests(t *testing.T) {
	t.Parallel()
	registers := map[int]uint16{0: 1, 100: 1, 200: 1, 300: 1}
	sim := modbus(t, "", unit("d1", 1, registers), unit("d2", 2, registers))
	fault(t, sim.Server("plc").Fault, simulator.Fault{Kind: simulator.Hasty, Delay: 50 * time.Millisecond})
	f := start(t, "20-pause-between-requests", portOf(sim))
	for _, d := range []string{"u1", "u2"} {
		f.wait(d, "r300", 15*time.Second)
		f.mustBeGood(f.samples(d, "*"))
	}
}

// A write to unit 0 goes to all units of a bus, and none answers.
func TestBroadcastWrite(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "rtu", unit("d1", 1, map[int]uint16{0: 5, 1: 0}), unit("d2", 2, map[int]uint16{0: 5, 1: 0}))
	f := start(t, "21-broadcast-rtu", portOf(sim))
	f.wait("u1", "a", 10*time.Second)
	f.write("case/all/setpoint", "7")
	for _, d := range []string{"d1", "d2"} {
		if v, err := sim.Device(d).Get("r1"); err != nil || fmt.Sprint(v) != "7" {
			t.Errorf("%s has %v, %v", d, v, err)
		}
		if n := len(sim.Device(d).Writes()); n != 1 {
			t.Errorf("%s was written %d times", d, n)
		}
	}
	f.mustBeGood(f.gather("u1", "a", 4, 10*time.Second))
}

// Behind a gateway that speaks MBAP the device's settings say that unit 0 is a broadcast: here
// the units keep silent, and the write is done when it is sent.
func TestBroadcastBehindAGateway(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("any", 0, map[int]uint16{0: 5, 1: 0}))
	fault(t, sim.Device("any").Fault, simulator.Fault{Kind: simulator.Silent, Range: "holding:1"})
	f := start(t, "21-broadcast-write", portOf(sim))
	f.wait("u1", "a", 10*time.Second)
	began := sim.Device("any").Counts().Functions["6"]
	f.write("case/all/setpoint", "7")
	if n := sim.Device("any").Counts().Functions["6"]; n != began+1 {
		t.Errorf("it was sent %d times", n-began)
	}
	f.mustBeGood(f.gather("u1", "a", 4, 10*time.Second))
}

// One unit takes function 16 only, another function 6 only for a single register.
func TestWriteFunctions(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("d1", 1, map[int]uint16{0: 5}), unit("d2", 2, map[int]uint16{1: 5}))
	fault(t, sim.Device("d1").Fault, simulator.Fault{Kind: simulator.Exception, Code: 1, Function: 6})
	fault(t, sim.Device("d2").Fault, simulator.Fault{Kind: simulator.Exception, Code: 2, Function: 16})
	f := start(t, "26-write-functions", portOf(sim))
	f.wait("u1", "a", 10*time.Second)
	f.write("case/u1/a", "61680")
	f.write("case/u2/b", "7")
	for name, want := range map[string]string{"d1/r0": "61680", "d2/r1": "7"} {
		d, point, _ := strings.Cut(name, "/")
		if v, err := sim.Device(d).Get(point); err != nil || fmt.Sprint(v) != want {
			t.Errorf("%s is %v, %v, want %s", name, v, err, want)
		}
	}
}

// RTU frames come over TCP as they are.
func TestRTUOverTCP(t *testing.T) {
	t.Parallel()
	image := func() *simulator.Image {
		return &simulator.Image{Points: []simulator.Point{{Name: "v", Address: "input:0", Type: "float32", Signal: signal.Constant(signal.Float(230.5))}}}
	}
	sim := modbus(t, "rtu", simulator.DeviceConfig{Name: "d1", Unit: 1, Image: image()}, simulator.DeviceConfig{Name: "d2", Unit: 2, Image: image()})
	f := start(t, "22-rtu-over-tcp", portOf(sim))
	for _, d := range []string{"m1", "m2"} {
		if got := f.wait(d, "v", 10*time.Second); got != "230.5" {
			t.Errorf("%s is %s", d, got)
		}
	}
}

// Texts are padded, with rubbish behind their end.
func TestPaddedStrings(t *testing.T) {
	t.Parallel()
	put := func(registers map[int]uint16, at int, text string) {
		for i := 0; i < len(text); i += 2 {
			registers[at+i/2] = uint16(text[i])<<8 | uint16(text[i+1])
		}
	}
	registers := map[int]uint16{}
	put(registers, 0, "V11.04.00\x00V1.04\x00")
	put(registers, 20, "SMA Solar       ")
	put(registers, 40, strings.Repeat("\x00", 16))
	sim := modbus(t, "", unit("d", 1, registers))
	f := start(t, "23-padded-strings", portOf(sim))
	for point, want := range map[string]string{"nul": `"V11.04.00"`, "space": `"SMA Solar"`, "empty": `""`} {
		if got := f.wait("inv", point, 10*time.Second); got != want {
			t.Errorf("%s is %s, want %s", point, got, want)
		}
	}
}

// A register packs several values.
func TestBitFields(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("d", 1, map[int]uint16{0: 0xFB<<8 | 0b1010}))
	f := start(t, "24-bit-fields", portOf(sim))
	for point, want := range map[string]string{"mode": "2", "temp": "-5"} {
		if got := f.wait("inv", point, 10*time.Second); got != want {
			t.Errorf("%s is %s, want %s", point, got, want)
		}
	}
}

// Another program wants the device's only connection between the polls.
func TestLeaveTheDeviceToOthers(t *testing.T) {
	t.Parallel()
	sim := modbus(t, "", unit("d", 1, map[int]uint16{0: 5}))
	f := start(t, "27-leave-the-device-to-others", portOf(sim))
	f.wait("inv", "a", 10*time.Second)
	free, looks := 0, 0
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		looks++
		if sim.Server("plc").Counts().Open == 0 {
			free++
		}
	}
	if free < looks/2 {
		t.Errorf("the connection is free at %d of %d looks", free, looks)
	}
	f.mustBeGood(f.samples("inv", "a"))
	f.quiet()
}
