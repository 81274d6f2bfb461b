package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vaultfs/internal/pg"
)

// prepareRoles looks whether the roles that own what is in the dump are there.
func (j *job) prepareRoles(context.Context) error {
	if j.o.NoOwner {
		return nil
	}
	var there []string
	err := j.server.Rows("SELECT row_to_json(t) FROM (SELECT rolname AS name FROM pg_roles) t", func(row []byte) error {
		var r struct{ Name string }
		err := json.Unmarshal(row, &r)
		there = append(there, r.Name)
		return err
	})
	if err != nil {
		return explain("listing the roles", err)
	}
	var missing []string
	for _, owner := range j.report.Dump.Owners {
		if !slices.Contains(there, owner) {
			missing = append(missing, owner)
		}
	}
	if j.o.CreateRoles {
		if j.globals == "" {
			return fmt.Errorf("the snapshot %s has no %s to take roles from: leave out --create-roles", j.snap.Short(), pg.GlobalsName)
		}
		j.missing = rolesOf(j.globals, func(name string) bool { return !slices.Contains(there, name) })
		missing = slices.DeleteFunc(missing, func(name string) bool {
			return slices.ContainsFunc(j.missing, func(r role) bool { return r.name == name })
		})
	}
	if len(missing) > 0 {
		return fmt.Errorf("roles that own something in the dump are not on the server: %s; create them (--create-roles does it as %s has them), or give --no-owner and everything will belong to you",
			strings.Join(missing, ", "), pg.GlobalsName)
	}
	return nil
}

// A role is what globals.sql says of one.
type role struct {
	name       string
	attributes string   // of ALTER ROLE … WITH
	groups     []string // that it is a member of
}

// A name in SQL as pg_dumpall writes it.
const sqlName = `("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)`

var (
	createRole = regexp.MustCompile(`^CREATE ROLE ` + sqlName + `;$`)
	// Only what cannot be anything but attributes is taken: the statements go
	// to psql.
	alterRole = regexp.MustCompile(`^ALTER ROLE ` + sqlName + ` WITH((?: [A-Z]+| CONNECTION LIMIT -?\d+| PASSWORD '[^'\\]*'| VALID UNTIL '[^'\\]*')+);$`)
	grantRole = regexp.MustCompile(`^GRANT ` + sqlName + ` TO ` + sqlName + `(?: WITH [A-Z ,]+)?(?: GRANTED BY ` + sqlName + `)?;$`)
)

// plainName undoes the quoting of a name.
func plainName(s string) string {
	if strings.HasPrefix(s, `"`) {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

// rolesOf lists those roles of a globals.sql that are wanted.
func rolesOf(script string, wanted func(name string) bool) (roles []role) {
	at := map[string]int{}
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\r\n")
		if m := createRole.FindStringSubmatch(line); m != nil && wanted(plainName(m[1])) {
			at[plainName(m[1])] = len(roles)
			roles = append(roles, role{name: plainName(m[1])})
		} else if m := alterRole.FindStringSubmatch(line); m != nil {
			if i, ok := at[plainName(m[1])]; ok {
				roles[i].attributes = m[2]
			}
		} else if m := grantRole.FindStringSubmatch(line); m != nil {
			if i, ok := at[plainName(m[2])]; ok {
				roles[i].groups = append(roles[i].groups, plainName(m[1]))
			}
		}
	}
	return roles
}

// makeRoles makes the roles that are missing, with their passwords and
// memberships.
func (j *job) makeRoles(s *pg.Session) error {
	for _, r := range j.missing {
		if err := s.Do("CREATE ROLE " + pg.Ident(r.name)); err != nil {
			return explain(fmt.Sprintf("making the role %q", r.name), err)
		}
		j.roles = append(j.roles, r.name)
		if r.attributes == "" {
			continue
		}
		if err := s.Do("ALTER ROLE " + pg.Ident(r.name) + " WITH" + r.attributes); err != nil {
			return explain(fmt.Sprintf("making the role %q", r.name), err)
		}
	}
	for _, r := range j.missing {
		for _, group := range r.groups {
			if err := s.Do("GRANT " + pg.Ident(group) + " TO " + pg.Ident(r.name)); err != nil {
				return explain(fmt.Sprintf("making the role %q a member of %q", r.name, group), err)
			}
		}
	}
	return nil
}
