package serial_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

// setpoint is an instrument with one value that can be set.
func setpoint() func(string) string {
	var mu sync.Mutex
	value := "1"
	return func(line string) string {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case line == "V?":
			return "V " + value + "\r\n"
		case line == "X?":
			return "ERR\r\n"
		case strings.HasPrefix(line, "V="):
			value = line[2:]
			return "OK\r\n"
		default:
			return ""
		}
	}
}

func TestConformancePolled(t *testing.T) {
	i := newInstrument(t, setpoint())
	link := settings(t, `{"port": "`+i.path+`"}`)
	set := `{"requests": {"v": {"send": "V?", "expect": "^V (.*)$"}, "x": {"send": "X?", "refuse": "^ERR"}},
		"writes": {"v": {"send": "V={value}", "expect": "^OK$"}}}`
	drivertest.Run(t, drivertest.Setup{
		Driver:    serial.New(),
		Lacks:     []drivertest.Ability{drivertest.Subscribe, drivertest.Browse, drivertest.Discover, drivertest.Pipeline, drivertest.Keep},
		Link:      driver.LinkConfig{Name: "line", Timeout: time.Second, Settings: link},
		Device:    config(t, set, "v:1 set=v", "v:0:text"),
		BadLinks:  []json.RawMessage{settings(t, `{}`), settings(t, `{"port": "/dev/ttyS0", "baud": -1}`)},
		BadDevice: config(t, set, "y:1", "v:0", "v:7"),
		Missing:   driver.Point{Name: "missing", Address: "x:0"},
		Writes:    []drivertest.WriteCase{{Point: "v:1 set=v", Value: driver.Float64Value(21.5)}},
		BadWrite:  drivertest.WriteCase{Point: "v:1 set=v", Value: driver.StringValue("x")},
		Silent:    config(t, `{"requests": {"s": {"send": "S?", "expect": "^S"}}}`, "s:0"),
	})
}

func TestConformanceListening(t *testing.T) {
	i := newInstrument(t, nil)
	link := settings(t, `{"port": "`+i.path+`"}`)
	set := `{"lines": {"w": {"expect": "^W (.*)$"}}, "writes": {"tare": {"send": "T {value}"}}}`
	drivertest.Run(t, drivertest.Setup{
		Driver: serial.New(),
		Lacks: []drivertest.Ability{drivertest.Read, drivertest.Prepare, drivertest.Browse, drivertest.Discover, drivertest.Pipeline, drivertest.Keep,
			drivertest.Missing, drivertest.Silence},
		Link:      driver.LinkConfig{Name: "line", Timeout: time.Second, Settings: link},
		Device:    config(t, set, "w:1 set=tare"),
		BadLinks:  []json.RawMessage{settings(t, `{"port": "COM1"}`)},
		BadDevice: config(t, set, "y:1", "w:7"),
		Writes:    []drivertest.WriteCase{{Point: "w:1 set=tare", Value: driver.Float64Value(1)}},
		BadWrite:  drivertest.WriteCase{Point: "w:1 set=tare", Value: driver.StringValue("x")},
		Push:      func(testing.TB) { i.say("W 1.5\r\n") },
	})
}
