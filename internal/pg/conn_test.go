package pg

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for given, want := range map[string]string{
		"orders":                               `dbname='orders'`,
		"it's \\ here":                         `dbname='it\'s \\ here'`,
		"":                                     ``,
		"host=db1 dbname=a":                    `dbname='a' host='db1'`,
		" dbname = 'a b' port=1 user='x\\'y' ": `dbname='a b' port='1' user='x\'y'`,
		`dbname=a\ b`:                          `dbname='a b'`,
		"postgresql://":                        ``,
		"postgres://db1/orders":                `dbname='orders' host='db1'`,
		"postgresql://anna:secret@db1:5433/a%20b?sslmode=require&ssl=true": `dbname='a b' host='db1' port='5433' sslmode='require' user='anna'`,
		"postgresql://a:1,b:2/x":                       `dbname='x' host='a,b' port='1,2'`,
		"postgresql://[::1]:6/x":                       `dbname='x' host='::1' port='6'`,
		"postgresql://%2Frun%2Fpg/x":                   `dbname='x' host='/run/pg'`,
		"postgresql:///x?host=/run/pg&password=secret": `dbname='x' host='/run/pg'`,
	} {
		c, err := Parse(given)
		if err != nil || c.String() != want {
			t.Errorf("%q: %s, want %s (%v)", given, c, want, err)
		}
		if strings.Contains(given, "secret") && (c.password != "secret" || c.hide("bad secret!") != "bad …!") {
			t.Errorf("%q: password %q", given, c.password)
		}
	}
}

// TestParseFails: the error tells nothing of the string, which may hold a
// password.
func TestParseFails(t *testing.T) {
	for _, given := range []string{
		"=secret", "host='secret", "host secret=1 x", "postgresql://a:sec%zzret@h/d", "postgresql://a:secret@h:secret/d", "postgresql://h/d?secret",
		"sslpassword=secret", "scram_client_key=xx", "postgresql://h/d?sslpassword=secret", "postgresql://anna:se/cret@h/d", "postgresql://h/%00secret", "Secret=secret",
	} {
		c, err := Parse(given)
		if !errors.Is(err, ErrConnection) || strings.Contains(err.Error(), "cret") && !strings.Contains(given, "sslpassword") {
			t.Errorf("%q: %v, %v", given, c, err)
		}
	}
}

// TestNamed: whatever a database is called, it is not taken for more than a name.
func TestNamed(t *testing.T) {
	for _, name := range []string{"host=evil.example", "postgresql://evil.example/x", "a' host='evil.example", `a\`, "-d", "ü\nx"} {
		c, err := Parse(Named(name).String())
		if err != nil || c.Get("dbname") != name || len(c.params) != 1 {
			t.Errorf("%q: %s, %v", name, c, err)
		}
	}
	if c := Named("a").Or("host", "b").Or("host", "c").With("port", "1").With("port", ""); c.String() != "dbname='a' host='b'" {
		t.Error(c)
	}
}

func TestVersions(t *testing.T) {
	for printed, want := range map[string]string{
		"pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)": "15.18", "pg_dump (PostgreSQL) 9.6.24": "9.6.24", "pg_dump (PostgreSQL) 19beta1": "19.0",
	} {
		if v, ok := ParseVersion(printed); !ok || v.String() != want {
			t.Errorf("%q: %s", printed, v)
		}
	}
	if _, ok := ParseVersion("bash: pg_dump: not found"); ok {
		t.Error("a version of nothing")
	}
	if v := Version(90624); v.Release() != "9.6" || v.Major() != 90600 || Version(170002).Release() != "17" {
		t.Error(v.Release(), v.Major())
	}
}

func FuzzParse(f *testing.F) {
	f.Add("postgresql://anna:secret@db1:5433/a%20b?sslmode=require")
	f.Add(`dbname='a\'b' host=x`)
	f.Fuzz(func(t *testing.T, given string) {
		c, err := Parse(given)
		if err != nil || len(c.params) == 0 || strings.ContainsRune(given, 0) {
			return
		}
		again, err := Parse(c.String())
		if err != nil || again.String() != c.String() {
			t.Fatalf("%q: %s, again %s (%v)", given, c, again, err)
		}
	})
}
