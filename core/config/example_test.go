package config_test

import (
	"fmt"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A thousand like meters are ten lines, and one table.
func ExampleParse() {
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(`
gateway: plant-7
links:
  line1:
    driver: modbus
    url: tcp://192.0.2.1:502
    devices:
      m[1..1000]:
        unit: "{n}"
        points:
          reg[1..100]: {address: "holding:{n-1}", scale: 0.1, unit: V}
`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	devices := c.Links[0].Devices
	last := devices[len(devices)-1]
	fmt.Println(len(devices), last.Name, string(last.Settings), last.Table == devices[0].Table)
	fmt.Println(last.Table.Points[99].Name, last.Table.Points[99].Address)
	// Output:
	// 1000 m1000 {"unit":1000} true
	// reg100 holding:99
}

// All errors come at once, each with its place and what to do.
func ExampleErrors() {
	_, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(`
gateway: plant 7
spol: {max: 2GiB}
links:
  line1: {driver: modbus, timeout: 5}
`)})
	fmt.Println(err)
	// Output:
	// fieldloom.yaml:2:10: gateway: "plant 7" cannot be a name because of ' ': use letters, digits, ., _ and -
	// fieldloom.yaml:3:1: spol: unknown key (did you mean "spool"?): use one of confine, data, detach, drivers, gateway, links, log, orphan, processes, secrets, socket, spool, templates, trust and unsigned
	// fieldloom.yaml:5:36: links.line1.timeout: 5 has no unit: write a duration such as 100ms, 5s, 1m30s or 7d
}

// What a driver finds wrong is mapped back to the line that was written.
func ExampleConfig_Locate() {
	c, err := config.Load("testdata/plant")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Locate("modbus", &driver.ConfigError{
		Link: "line1", Device: "m7", Point: "reg3", Key: "address", Text: "there is no register 4: use 0 to 65535",
	}))
	// Output:
	// testdata/plant/fieldloom.yaml:15:29: templates.meter.points.reg[1..99].address: there is no register 4: use 0 to 65535 (line1/m7/reg3)
}
