package depot_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"aead.dev/minisign"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/pack"
)

// executable is where the yard's packages have their program.
func (y *yard) executable() string {
	return filepath.Join(y.dir, "d-1", y.folder(), "driver-d")
}

func (y *yard) folder() string { return strings.ReplaceAll(pack.Platform(), "/", "-") }

func (y *yard) read(path string) string {
	y.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		y.t.Fatal(err)
	}
	return string(text)
}

func (y *yard) must(err error) {
	y.t.Helper()
	if err != nil {
		y.t.Fatal(err)
	}
}

// resign signs what stands in the manifest, and nothing else, as an attacker with a
// trusted key could: Sign would mend it.
func (y *yard) resign(manifest string) {
	y.t.Helper()
	var key minisign.PrivateKey
	y.must(key.UnmarshalText(bytes.TrimSpace(y.keys["ours"].private)))
	y.write(filepath.Join(y.dir, "d-1", pack.ManifestName), manifest, 0o644)
	y.write(filepath.Join(y.dir, "d-1", pack.SignatureName), string(minisign.Sign(key, []byte(manifest))), 0o644)
}

// replace changes a text in the manifest and signs that.
func (y *yard) replace(old, text string) {
	y.t.Helper()
	have := y.read(filepath.Join(y.dir, "d-1", pack.ManifestName))
	changed := strings.Replace(have, old, text, 1)
	if changed == have {
		y.t.Fatalf("the manifest has no %q:\n%s", old, have)
	}
	y.resign(changed)
}

// flip changes one bit of a file, anywhere.
func (y *yard) flip(path string) {
	y.t.Helper()
	text := []byte(y.read(path))
	bit := rand.IntN(8 * len(text))
	text[bit/8] ^= 1 << (bit % 8)
	info, err := os.Stat(path)
	y.must(err)
	y.write(path, string(text), info.Mode())
}

// archived replaces the package by an archive with these entries.
func (y *yard) archived(entries ...tar.Header) {
	y.t.Helper()
	y.must(os.RemoveAll(filepath.Join(y.dir, "d-1")))
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	to := tar.NewWriter(zip)
	for _, h := range entries {
		body := strings.Repeat("x", int(h.Size))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		y.must(to.WriteHeader(&h))
		_, err := io.WriteString(to, body)
		y.must(err)
	}
	y.must(to.Close())
	y.must(zip.Close())
	y.write(filepath.Join(y.dir, "d-1.tar.gz"), b.String(), 0o644)
}

// asArchive replaces the package by its archive, which change may change.
func (y *yard) asArchive(change func([]byte) []byte) {
	y.t.Helper()
	var b bytes.Buffer
	y.must(pack.Archive(filepath.Join(y.dir, "d-1"), &b))
	y.must(os.RemoveAll(filepath.Join(y.dir, "d-1")))
	y.write(filepath.Join(y.dir, "d-1.tar.gz"), string(change(b.Bytes())), 0o644)
}

// tamperings are attempts on the package d-1 of the yard, which prints "good", and the
// whole line that each leaves. EXE, KEY, OTHER, UID and PLATFORM stand for what
// differs from run to run.
var tamperings = []struct {
	name string
	do   func(y *yard)
	line string
}{
	{"flipped bit in the executable", func(y *yard) { y.flip(y.executable()) },
		"package d-1: EXE: its SHA-256 is not the manifest's: it was changed after it was signed"},
	{"flipped bit in the manifest", func(y *yard) { y.flip(filepath.Join(y.dir, "d-1", pack.ManifestName)) },
		"package d-1: the signature does not fit manifest.json: one of the two was changed after key KEY signed it"},
	{"flipped bit in the signature", func(y *yard) { y.flipSignature(1, 20) },
		"package d-1: the signature does not fit manifest.json: one of the two was changed after key KEY signed it"},
	{"flipped bit in the signature of the comment", func(y *yard) { y.flipSignature(3, 20) },
		"package d-1: the signature does not fit manifest.json: one of the two was changed after key KEY signed it"},
	{"changed trusted comment", func(y *yard) { y.signatureText("serial 100", "serial 900") },
		"package d-1: the signature does not fit manifest.json: one of the two was changed after key KEY signed it"},
	{"emptied signature", func(y *yard) { y.write(filepath.Join(y.dir, "d-1", pack.SignatureName), "", 0o644) },
		"package d-1: manifest.json.minisig: is no signature of minisign: sign the package again"},
	{"removed signature", func(y *yard) { y.must(os.Remove(filepath.Join(y.dir, "d-1", pack.SignatureName))) },
		"package d-1: manifest.json.minisig: is not there, and only signed packages are taken: sign it with `fieldloom driver sign`"},
	{"removed manifest", func(y *yard) { y.must(os.Remove(filepath.Join(y.dir, "d-1", pack.ManifestName))) },
		"package d-1: manifest.json: is not there"},
	{"signed with another key", func(y *yard) { y.put("d", "1", "evil", "foreign", 200) },
		"package d-1: signed with key OTHER, which is not in the trust file: put its public key there if you trust it"},
	{"another key under the id of a trusted one", func(y *yard) { y.put("d", "1", "evil", "foreign", 200); y.borrowID() },
		"package d-1: the signature does not fit manifest.json: one of the two was changed after key KEY signed it"},
	{"key that may not sign this driver", func(y *yard) { y.put("d", "1", "evil", "acme", 200) },
		"package d-1: key ACME may not sign driver d: the trust file lets it sign acme-*"},
	{"signature of another package", func(y *yard) {
		other := y.make(y.t.TempDir(), "d", "2", "evil", "ours", 300)
		y.write(filepath.Join(y.dir, "d-1", pack.SignatureName), y.read(filepath.Join(other, pack.SignatureName)), 0o644)
	}, "package d-1: the signature does not fit manifest.json: one of the two was changed after key KEY signed it"},
	{"executable of another package", func(y *yard) {
		other := y.make(y.t.TempDir(), "d", "2", "evil", "ours", 300)
		y.write(y.executable(), y.read(filepath.Join(other, y.folder(), "driver-d")), 0o755)
	}, "package d-1: EXE: its SHA-256 is not the manifest's: it was changed after it was signed"},
	{"file grown", func(y *yard) { y.write(y.executable(), y.read(y.executable())+"#", 0o755) },
		"package d-1: EXE: has 21 bytes, and the manifest says 20"},
	{"file cut", func(y *yard) { y.must(os.Truncate(y.executable(), 5)) },
		"package d-1: EXE: has 5 bytes, and the manifest says 20"},
	{"another package under this name", func(y *yard) {
		y.must(os.RemoveAll(filepath.Join(y.dir, "d-1")))
		y.must(os.Rename(y.make(y.t.TempDir(), "e", "1", "evil", "ours", 300), filepath.Join(y.dir, "d-1")))
	}, "package d-1: its name must be e-1, as the manifest says: rename it"},
	{"file added", func(y *yard) { y.write(filepath.Join(y.dir, "d-1", "libc.so"), "evil", 0o644) },
		"package d-1: libc.so: is not in the manifest"},
	{"file added with a line break in its name", func(y *yard) { y.write(filepath.Join(y.dir, "d-1", "a\nb: accepted"), "evil", 0o644) },
		`package d-1: "a\nb: accepted": is not in the manifest`},
	{"hidden file added", func(y *yard) { y.write(filepath.Join(y.dir, "d-1", y.folder(), ".preload"), "evil", 0o644) },
		`package d-1: "FOLDER/.preload": is not in the manifest`},
	{"directory added", func(y *yard) { y.must(os.Mkdir(filepath.Join(y.dir, "d-1", "empty"), 0o755)) },
		"package d-1: empty: is not in the manifest"},
	{"file removed", func(y *yard) { y.must(os.Remove(y.executable())) },
		"package d-1: EXE: is not there, and the manifest lists it"},
	{"directory removed", func(y *yard) { y.must(os.RemoveAll(filepath.Dir(y.executable()))) },
		"package d-1: EXE: is not there, and the manifest lists it"},
	{"executable replaced by a symbolic link", func(y *yard) { y.link(y.executable()) },
		"package d-1: EXE: is a symbolic link: only plain files are taken"},
	{"folder replaced by a symbolic link", func(y *yard) { y.link(filepath.Dir(y.executable())) },
		"package d-1: FOLDER: is a symbolic link: only plain files are taken"},
	{"manifest replaced by a symbolic link", func(y *yard) { y.link(filepath.Join(y.dir, "d-1", pack.ManifestName)) },
		"package d-1: manifest.json: is a symbolic link: only plain files are taken"},
	{"package replaced by a symbolic link", func(y *yard) { y.link(filepath.Join(y.dir, "d-1")) },
		"package d-1: is a symbolic link: only plain files are taken"},
	{"hard link to the executable", func(y *yard) { y.must(os.Link(y.executable(), filepath.Join(y.sources, "second"))) },
		"package d-1: EXE: has 2 names (hard links): it may be changed under another one"},
	{"executable replaced by a pipe", func(y *yard) {
		y.must(os.Remove(y.executable()))
		y.must(unix.Mkfifo(y.executable(), 0o755))
	}, "package d-1: EXE: is not a plain file"},
	{"executable replaced by a directory", func(y *yard) {
		y.must(os.Remove(y.executable()))
		y.must(os.Mkdir(y.executable(), 0o755))
	}, "package d-1: EXE: is not a plain file"},
	{"setuid bit", func(y *yard) { y.must(os.Chmod(y.executable(), 0o755|os.ModeSetuid)) },
		"package d-1: EXE: has a setuid, setgid or sticky bit: remove it (chmod ug-s,-t)"},
	{"file that a group may write", func(y *yard) { y.must(os.Chmod(y.executable(), 0o775)) },
		"package d-1: EXE: may be written by others than its owner: chmod go-w"},
	{"manifest that everybody may write", func(y *yard) { y.must(os.Chmod(filepath.Join(y.dir, "d-1", pack.ManifestName), 0o666)) },
		"package d-1: manifest.json: may be written by others than its owner: chmod go-w"},
	{"directory that everybody may write", func(y *yard) { y.must(os.Chmod(filepath.Dir(y.executable()), 0o777)) },
		"package d-1: FOLDER: may be written by others than its owner: chmod go-w"},
	{"package that everybody may write", func(y *yard) { y.must(os.Chmod(filepath.Join(y.dir, "d-1"), 0o777)) },
		"package d-1: may be written by others than its owner: chmod go-w"},
	{"mode bits", func(y *yard) { y.must(os.Chmod(y.executable(), 0o700)) },
		"package d-1: EXE: has the mode 0700, and the manifest says 0755"},
	{"manifest of a gibibyte", func(y *yard) { y.must(os.Truncate(filepath.Join(y.dir, "d-1", pack.ManifestName), 1<<30)) },
		"package d-1: manifest.json: is larger than 1048576 bytes"},
	{"signature of a gibibyte", func(y *yard) { y.must(os.Truncate(filepath.Join(y.dir, "d-1", pack.SignatureName), 1<<30)) },
		"package d-1: manifest.json.minisig: is larger than 4096 bytes"},
	{"older serial", func(y *yard) { y.open(); y.put("d", "1", "evil", "ours", 99) },
		"package d-1: serial 99 is older than 100, the highest accepted of key KEY: an old package is not taken as a new one"},
	{"other contents under the same serial", func(y *yard) { y.open(); y.put("d", "1", "evil", "ours", 100) },
		"package d-1: serial 100 of key KEY was accepted with other contents: sign this package again"},

	{"signed: a key twice in the manifest", func(y *yard) { y.replace(`"serial": 100,`, `"serial": 100, "serial": 1000000,`) },
		`package d-1: manifest.json:5:18: the key "serial" stands here a second time`},
	{"signed: a key in other letters", func(y *yard) { y.replace(`"serial": 100,`, `"serial": 100, "Serial": 1000000,`) },
		`package d-1: manifest.json:5:18: the manifest has no key "Serial": it may have name, version, kind, serial, api, platforms, files, schemas, endpoints, wants`},
	{"signed: a second manifest behind the first", func(y *yard) { y.resign(y.read(filepath.Join(y.dir, "d-1", pack.ManifestName)) + "{}") },
		"package d-1: manifest.json:LINE:1: is not JSON: invalid character '{' after top-level value"},
	{"signed: a path out of the package", func(y *yard) {
		y.replace(`"files": {`, `"files": {"../../etc/shadow": {"sha256": "`+strings.Repeat("0", 64)+`", "size": 1, "mode": "0644"},`)
	},
		`package d-1: manifest.json:13:13: the path "../../etc/shadow" is not taken: use relative paths of a-z, A-Z, 0-9, ., -, _ and +, no part beginning with a dot`},
	{"signed: an executable out of the package", func(y *yard) { y.replace(y.folder()+`/driver-d"`, `/bin/sh"`) },
		`package d-1: manifest.json:11:PLATCOL: the executable "/bin/sh" is not among the files with mode 0755`},
	{"signed: a setuid mode", func(y *yard) { y.replace(`"0755"`, `"4755"`) },
		`package d-1: manifest.json:17:15: the mode "4755" is not taken: it is "0755" or "0644"`},
	{"signed: a file of a tebibyte", func(y *yard) { y.replace(`"size": 20`, `"size": 1099511627776`) },
		"package d-1: manifest.json:16:15: must be a whole number from 0 to 536870912"},
	{"signed: another platform", func(y *yard) { y.replace(`"`+pack.Platform()+`"`, `"plan9/mips"`) },
		"package d-1 has no executable for PLATFORM: it has them for plan9/mips"},
	{"signed: another kind", func(y *yard) { y.replace(`"kind": "driver"`, `"kind": "kernel"`) },
		`package d-1: manifest.json:4:11: kind is "kernel": this fieldloom knows "driver" only`},
	{"signed: another version of the protocol", func(y *yard) { y.replace("\"min\": 1,\n    \"max\": 1", "\"min\": 2,\n    \"max\": 3") },
		"package d-1: speaks the driver protocol 2 to 3, and this gateway 1: update the one that is older"},
	{"signed: the name of a driver with a path", func(y *yard) { y.replace(`"name": "d"`, `"name": "../d"`) },
		`package d-1: manifest.json:2:11: "../d" is no name of a driver: 1 to 32 of a-z, 0-9, - and _, the first a letter or a digit`},

	{"archive cut off", func(y *yard) { y.asArchive(func(b []byte) []byte { return b[:len(b)*2/3] }) },
		"package d-1: is cut off or damaged (unexpected EOF): fetch it again"},
	{"archive without its check sum", func(y *yard) { y.asArchive(func(b []byte) []byte { return b[:len(b)-4] }) },
		"package d-1: is cut off or damaged (unexpected EOF): fetch it again"},
	{"archive that is none", func(y *yard) { y.asArchive(func([]byte) []byte { return []byte("MZ") }) },
		"package d-1: is not a tar.gz"},
	{"archive with a path out of it", func(y *yard) { y.archived(tar.Header{Name: "../../etc/cron.d/evil", Size: 1}) },
		`package d-1: "../../etc/cron.d/evil" is not taken as a path: it must be relative, of a-z, A-Z, 0-9, ., -, _ and +, no part beginning with a dot`},
	{"archive with an absolute path", func(y *yard) { y.archived(tar.Header{Name: "/etc/cron.d/evil", Size: 1}) },
		`package d-1: "/etc/cron.d/evil" is not taken as a path: it must be relative, of a-z, A-Z, 0-9, ., -, _ and +, no part beginning with a dot`},
	{"archive with a symbolic link", func(y *yard) {
		y.archived(tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "a/evil", Size: 1})
	}, `package d-1: "a" is not a plain file: links and devices are not taken`},
	{"archive with a hard link", func(y *yard) { y.archived(tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}) },
		`package d-1: "a" is not a plain file: links and devices are not taken`},
	{"archive with a device", func(y *yard) { y.archived(tar.Header{Name: "a", Typeflag: tar.TypeBlock, Devmajor: 8}) },
		`package d-1: "a" is not a plain file: links and devices are not taken`},
	{"archive with a setuid file", func(y *yard) { y.archived(tar.Header{Name: "a", Mode: 0o4755, Size: 1}) },
		`package d-1: "a" has a setuid, setgid or sticky bit`},
	{"archive with a file twice", func(y *yard) {
		y.archived(tar.Header{Name: "manifest.json", Size: 1}, tar.Header{Name: "./manifest.json", Size: 1})
	}, `package d-1: "./manifest.json" stands in the archive twice`},
	{"archive with a file in a file", func(y *yard) {
		y.archived(tar.Header{Name: "a", Size: 1}, tar.Header{Name: "a/b", Size: 1})
	}, `package d-1: "a/b" cannot be unpacked: file exists`},
	{"archive with too many files", func(y *yard) {
		var many []tar.Header
		for i := range 2100 {
			many = append(many, tar.Header{Name: "f" + hex.EncodeToString([]byte{byte(i >> 8), byte(i)}), Size: 0})
		}
		y.archived(many...)
	}, "package d-1: has more than 2000 entries"},
	{"archive bomb", func(y *yard) { y.bomb(600 << 20) },
		`package d-1: "a" has 629145600 bytes: that is more than a package may have`},
	{"archive bomb behind the end", func(y *yard) { y.tail(10 << 20) },
		"package d-1: has more behind its end"},
	{"archive without files", func(y *yard) { y.archived() }, "package d-1: has no files"},
	{"bare executable", func(y *yard) {
		y.must(os.RemoveAll(filepath.Join(y.dir, "d-1")))
		y.write(filepath.Join(y.dir, "driver-d"), "#!/bin/sh\necho evil\n", 0o755)
	}, "driver-d: is no signed package: `fieldloom driver pack` makes one of it, and `unsigned: allow-dev` takes it as it is"},
}

func TestTampering(t *testing.T) {
	base := newYard(t)
	for _, c := range tamperings {
		t.Run(c.name, func(t *testing.T) {
			y := newYard(t)
			y.keys = base.keys
			y.trustKeys("ours", "acme")
			y.put("d", "1", "good", "ours", 100)
			c.do(y)
			y.open() // a start of the gateway: it remembers no image
			if i, err := y.depot.Image("d"); err == nil {
				text, err := start(i)
				t.Fatalf("the package runs and prints %q, %v", text, err)
			}
			list := y.depot.List()
			if len(list) != 1 || list[0].State != depot.Refused || list[0].Active {
				t.Fatalf("list %+v", list)
			}
			if have, want := list[0].Refusal, y.expand(c.line); !regexp.MustCompile("^" + want + "$").MatchString(have) {
				t.Errorf("have %s\nwant %s", have, want)
			}
			if warned := strings.Count(y.log.String(), "level=WARN"); warned != 1 || !strings.Contains(y.log.String(), "package is refused") {
				t.Errorf("want one line in the log, have\n%s", y.log.String())
			}
			if left := y.hidden(); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
	if len(tamperings) < 25 {
		t.Errorf("%d attempts only", len(tamperings))
	}
}

// The same attempts, but on a gateway that runs: what was verified goes on, and
// nothing else runs.
func TestTamperingWhileRunning(t *testing.T) {
	base := newYard(t)
	for _, c := range tamperings {
		t.Run(c.name, func(t *testing.T) {
			y := newYard(t)
			y.keys = base.keys
			y.trustKeys("ours", "acme")
			y.put("d", "1", "good", "ours", 100)
			y.open()
			before, err := y.depot.Image("d")
			y.must(err)
			d := y.depot
			c.do(y)
			d.Scan()
			if i, err := d.Image("d"); err == nil && i != before {
				t.Error("another image")
			}
			if text, err := start(before); text != "good" || err != nil {
				t.Errorf("the verified image printed %q, %v", text, err)
			}
		})
	}
}

// expand makes a pattern of a line of the table.
func (y *yard) expand(line string) string {
	id := func(name string) string {
		id, err := pack.KeyID(y.keys[name].public)
		y.must(err)
		return id
	}
	return strings.NewReplacer(
		"EXE", regexp.QuoteMeta(y.folder()+"/driver-d"), "FOLDER", regexp.QuoteMeta(y.folder()),
		"KEY", id("ours"), "OTHER", id("foreign"), "ACME", id("acme"), "PLATFORM", pack.Platform(), "LINE", `\d+`, "PLATCOL", `\d+`,
	).Replace(regexp.QuoteMeta(line))
}

// hidden are leftovers in the drivers directory.
func (y *yard) hidden() []string {
	found, err := filepath.Glob(filepath.Join(y.dir, ".*"))
	y.must(err)
	return found
}

// flipSignature flips a bit of a byte of a line of the signature file, behind the
// letters that base64 keeps for algorithm and key id.
func (y *yard) flipSignature(line, at int) {
	y.t.Helper()
	path := filepath.Join(y.dir, "d-1", pack.SignatureName)
	lines := strings.Split(y.read(path), "\n")
	raw, err := base64.StdEncoding.DecodeString(lines[line])
	y.must(err)
	raw[at] ^= 4
	lines[line] = base64.StdEncoding.EncodeToString(raw)
	y.write(path, strings.Join(lines, "\n"), 0o644)
}

func (y *yard) signatureText(old, text string) {
	y.t.Helper()
	path := filepath.Join(y.dir, "d-1", pack.SignatureName)
	y.write(path, strings.Replace(y.read(path), old, text, 1), 0o644)
}

// borrowID puts the id of the trusted key into the signature of another.
func (y *yard) borrowID() {
	y.t.Helper()
	path := filepath.Join(y.dir, "d-1", pack.SignatureName)
	lines := strings.Split(y.read(path), "\n")
	raw, err := base64.StdEncoding.DecodeString(lines[1])
	y.must(err)
	public, err := base64.StdEncoding.DecodeString(y.keys["ours"].public)
	y.must(err)
	copy(raw[2:10], public[2:10])
	lines[1] = base64.StdEncoding.EncodeToString(raw)
	y.write(path, strings.Join(lines, "\n"), 0o644)
}

// link moves what lies at path away and puts a symbolic link there.
func (y *yard) link(path string) {
	y.t.Helper()
	moved := filepath.Join(y.sources, "moved")
	y.must(os.Rename(path, moved))
	y.must(os.Symlink(moved, path))
}

// bomb is an archive of one file of zeros.
func (y *yard) bomb(size int64) {
	y.t.Helper()
	y.must(os.RemoveAll(filepath.Join(y.dir, "d-1")))
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	to := tar.NewWriter(zip)
	y.must(to.WriteHeader(&tar.Header{Name: "a", Mode: 0o644, Size: size}))
	_, err := to.Write(make([]byte, 1<<20))
	y.must(err)
	y.must(zip.Close())
	y.write(filepath.Join(y.dir, "d-1.tar.gz"), b.String(), 0o644)
}

// tail puts zeros behind a whole archive, within its compressed stream.
func (y *yard) tail(size int) {
	y.t.Helper()
	y.asArchive(func(whole []byte) []byte {
		from, err := gzip.NewReader(bytes.NewReader(whole))
		y.must(err)
		var b bytes.Buffer
		zip, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		y.must(err)
		_, err = io.Copy(zip, from)
		y.must(err)
		zeros := make([]byte, 1<<20)
		for range size >> 20 {
			_, err := zip.Write(zeros)
			y.must(err)
		}
		y.must(zip.Close())
		return b.Bytes()
	})
}
