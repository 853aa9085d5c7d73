package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

func ExampleClient_Watch() {
	c := client.New("/var/lib/fieldloom/fieldloom.sock")
	defer c.Close()
	options := client.WatchOptions{Patterns: []string{"line1/*/temperature"}, Since: time.Now().Add(-time.Hour)}
	for sample, err := range c.Watch(context.Background(), options) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(sample.Path(), sample.Value)
	}
}

func ExampleSample() {
	s := client.Sample{Link: "line1", Device: "m1", Point: "u1", Value: driver.Float64Value(230.1), Quality: driver.Good,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	fmt.Println(string(s.AppendJSON(nil)))
	// Output: {"link":"line1","device":"m1","point":"u1","value":230.1,"quality":"good","time":"2026-01-02T03:04:05.000000000Z"}
}
