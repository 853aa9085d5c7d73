package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The shim is this program, and must not wait for what only a gateway needs.
func TestShimIsEarly(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"fieldloom: confine", "no order"}
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "confine: the shim's order") {
		t.Fatalf("not the shim: %v\n%s", err, out)
	}
	for _, late := range []string{"santhosh-tekuri/jsonschema", "google.golang.org/grpc", "danielgtaylor/huma"} {
		if strings.Contains(string(out), "init github.com/"+late+" ") || strings.Contains(string(out), "init "+late+" ") {
			t.Errorf("%s is initialised before the shim", late)
		}
	}
}
