// Package rules_test holds the rules of this repository that no linter can say,
// each with its reason.
package rules_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

const (
	module     = "github.com/fieldloom/fieldloom"
	repository = "../.."
)

type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string
	Module     *struct {
		Path, Dir string
		Main      bool
	}
}

// goList asks the go command about packages of this module.
func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,Imports,Module"}, args...)...)
	cmd.Dir = repository
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// A driver is replaced, signed and confined alone, so it shares no code with
// another driver.
func TestNoDriverImportsAnother(t *testing.T) {
	const shared = "carrier" // what a wire is made of, for all of them
	seen := 0
	for _, p := range goList(t, "./drivers/...") {
		own, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, module+"/drivers/"), "/")
		seen++
		for _, imp := range p.Imports {
			rest, isDriver := strings.CutPrefix(imp, module+"/drivers/")
			if other, _, _ := strings.Cut(rest, "/"); isDriver && other != own && other != shared {
				t.Errorf("%s imports %s: a driver stands alone", p.ImportPath, imp)
			}
		}
	}
	if seen < 6 {
		t.Errorf("found %d packages below drivers/, want each driver and its main", seen)
	}
}

// A reader of a package starts at its comment; two comments are two stories.
func TestOnePackageCommentEach(t *testing.T) {
	for _, p := range goList(t, "./...") {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var commented []string
		generated := true
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".pb.go") {
				continue
			}
			generated = false
			if f.Doc != nil {
				commented = append(commented, filepath.Base(name))
			}
		}
		if !generated && len(commented) != 1 {
			t.Errorf("%s: want one package comment, have %d %v", p.ImportPath, len(commented), commented)
		}
	}
}

// A file of more than 400 lines holds more than one idea.
func TestFilesAreShort(t *testing.T) {
	forEachFile(t, func(path string, lines []string) {
		if len(lines) > 400 && !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s has %d lines, of 400: split it by its ideas", path, len(lines))
		}
	})
}

// Package state and init make the order of imports matter; wiring lives in cmd.
func TestNoInit(t *testing.T) {
	forEachFile(t, func(path string, lines []string) {
		for i, line := range lines {
			if strings.HasPrefix(line, "func init()") {
				t.Errorf("%s:%d: no init", path, i+1)
			}
			if strings.TrimSpace(strings.TrimPrefix(line, "import")) == `"C"` {
				t.Errorf("%s:%d: no cgo", path, i+1)
			}
		}
	})
}

// The core knows no protocol: what a driver's links name is in its manifest. A scheme or a
// default port in the core would be right for the drivers of today alone.
func TestCoreKnowsNoProtocol(t *testing.T) {
	known := regexp.MustCompile(`"(modbus|mqtts?|opc\.tcp|ssl|rtu|sparkplug)"|\b(tcp|udp|mqtts?|opc\.tcp|ssl|tls|rtu)://|\b(502|802|1883|8883|4840)\b`)
	forEachFile(t, func(path string, lines []string) {
		if !strings.HasPrefix(path, "../../core/") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "test/") || strings.Contains(path, "/testdata/") {
			return
		}
		for i, line := range lines {
			code, _, _ := strings.Cut(line, "// ")
			if found := known.FindString(code); found != "" {
				t.Errorf("%s:%d: %s: a protocol's; the manifest of its driver says it", path, i+1, found)
			}
		}
	})
}

func forEachFile(t *testing.T, visit func(path string, lines []string)) {
	t.Helper()
	root := "../.."
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return nil
		}
		visit(path, readLines(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What the map of the code names is there.
func TestArchitectureNamesWhatThereIs(t *testing.T) {
	text := strings.Join(readLines(t, filepath.Join(repository, "docs/architecture.md")), "\n")
	found := regexp.MustCompile(`\b(core|drivers|cmd|proto|simulator|test)/[a-z0-9/_.-]*[a-z0-9_]`).FindAllString(text, -1)
	if len(found) < 40 {
		t.Errorf("%d paths found only", len(found))
	}
	for _, path := range found {
		if _, err := os.Stat(filepath.Join(repository, path)); err != nil {
			t.Errorf("docs/architecture.md: %v", err)
		}
	}
	types := regexp.MustCompile("`((?:[a-z]+)\\.([A-Z]?[A-Za-z]+)\\.[a-z]+)`").FindAllStringSubmatch(text, -1)
	if len(types) < 10 {
		t.Errorf("%d locks found only", len(types))
	}
	code := map[string]bool{}
	forEachFile(t, func(_ string, lines []string) {
		for _, line := range lines {
			if name, ok := strings.CutPrefix(line, "type "); ok {
				name, _, _ = strings.Cut(name, " ")
				code[name] = true
			}
		}
	})
	for _, m := range types {
		if !code[m[2]] {
			t.Errorf("docs/architecture.md: %s: there is no type %s", m[1], m[2])
		}
	}
}

// An executable that was committed by mistake stays in every clone for ever.
func TestCommittedFilesAreText(t *testing.T) {
	const most = 512 << 10
	list := exec.Command("git", "ls-files", "-z")
	list.Dir = repository
	out, err := list.Output()
	if err != nil {
		t.Skipf("git does not list the files here: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		info, err := os.Stat(filepath.Join(repository, name))
		if err == nil && info.Size() > most {
			t.Errorf("%s has %d bytes: nothing that is written by hand or generated here has more than %d", name, info.Size(), most)
		}
	}
}

// What we ship must be ours to ship: every module linked into a binary has a
// licence from this list. MPL and EPL ask for their own files only.
func TestLicences(t *testing.T) {
	allowed := []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-HP", "MIT", "ISC", "MPL-2.0", "EPL-2.0", "Unlicense"}
	checked := map[string]bool{}
	for _, p := range goList(t, "-deps", "./cmd/...", "./drivers/...") {
		if p.Standard || p.Module == nil || p.Module.Main || checked[p.Module.Path] {
			continue
		}
		checked[p.Module.Path] = true
		found := moduleLicences(t, p.Module.Dir)
		if len(found) == 0 {
			t.Errorf("%s: no licence found in %s", p.Module.Path, p.Module.Dir)
		}
		if !slices.ContainsFunc(found, func(id string) bool { return slices.Contains(allowed, id) }) {
			t.Errorf("%s: licences %v, none of %v", p.Module.Path, found, allowed)
		}
	}
	if len(checked) < 10 {
		t.Errorf("checked %d modules only", len(checked))
	}
}

// What is ours is under the licence of the file LICENSE.
func TestOwnLicence(t *testing.T) {
	if found := moduleLicences(t, repository); !slices.Equal(found, []string{"Apache-2.0"}) {
		t.Errorf("LICENSE: %v, want Apache-2.0", found)
	}
}

func moduleLicences(t *testing.T, dir string) []string {
	t.Helper()
	var ids []string
	for _, pattern := range []string{"LICEN[SC]E*", "COPYING*", "license*", "License*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			for _, m := range licensecheck.Scan([]byte(strings.Join(readLines(t, name), "\n"))).Match {
				ids = append(ids, m.ID)
			}
		}
	}
	return ids
}
