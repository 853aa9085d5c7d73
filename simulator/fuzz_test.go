package simulator

import (
	"testing"

	"github.com/fieldloom/fieldloom/simulator/internal/document"
)

// FuzzLoad reads any text as a config file, without a file.
func FuzzLoad(f *testing.F) {
	f.Add("servers:\n  s[1..3]:\n    devices:\n      d{n}: {unit: \"{n}\", points: {p: {address: \"holding:{2*n}\", signal: {walk: {}}}}}\n")
	f.Add("images: {i: {registers: 10, illegal: [\"holding:3\"]}}\nservers: {s: {protocol: mqtt, devices: {d: {points: {x: {signal: slot}}, publish: [{topic: t}]}}}}\n")
	f.Add("servers: {s: {protocol: serial, devices: {d: {exchange: [{match: a, reply: b}], send: [{line: c}]}}}}\nschedule: [{server: s, fault: refused}]\n")
	f.Add("a: &x [*x]\n? b\n: !!int c\n<<: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		doc, root, err := document.Parse("sim.yaml", []byte(text))
		if err != nil {
			return
		}
		cfg, err := load(doc, root, "nowhere")
		if (cfg == nil) == (err == nil) {
			t.Errorf("config %v, error %v", cfg, err)
		}
	})
}
