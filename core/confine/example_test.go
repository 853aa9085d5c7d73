package confine_test

import (
	"fmt"
	"os/exec"

	"github.com/fieldloom/fieldloom/core/confine"
)

// A driver for Modbus TCP gets the port that its link names, and nothing else. The
// program that starts it calls confine.Main first thing in its main.
func Example() {
	policy := confine.Policy{Mode: confine.BestEffort, RunDir: "/run/fieldloom/plugin1"}
	policy.AddHost("192.0.2.17", 1502)
	fmt.Println(policy.ConnectTCP, policy.Read)

	start := func(cmd *exec.Cmd) error {
		pending, err := policy.Prepare(cmd, nil) // an image in place of nil, where it was verified
		if err != nil {
			return err
		}
		err = cmd.Start()
		pending.Started(err) // who has to know the process first, calls it later
		if err != nil {
			return err
		}
		report, err := pending.Report()
		fmt.Println(report.InForce, report.Missing)
		return err
	}
	_ = start
	// Output: [1502] []
}
