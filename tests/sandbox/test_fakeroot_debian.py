"""Debian's own packages, installed by a user with one id: what they leave is what they leave for real root.

Every path of the upper directory is compared: type, owner, mode, link target, device, attributes, number of names.
"""

import os
import tarfile

import pytest

from tests import provision
from tests.conftest import Person
from tests.sandbox.fakeroot_lab import Lab, Ran

QUIET = "apt-get -qq update && apt-get -qq -y --no-install-recommends install >/tmp/log 2>&1 "
STEPS = {
    "users, capabilities, ACLs and sudo": QUIET + """openssh-server sudo man-db dbus libcap2-bin acl || exit 9
        setcap cap_net_raw+ep /usr/bin/wall; getcap /usr/bin/wall
        cd /root; touch a; setfacl -m u:5:rw a; chmod 640 a; setfacl -m m::r a; getfacl a; mkdir d
        setfacl -d -m u:5:rwx d; touch d/x; mkdir -p d/y/z; mknod d/p p; cp -a d d2; getfacl -R d d2
        touch b; setcap cap_chown+ep b; cp -a b c; getcap b c; echo x >> b; getcap b; chown 1 c; getcap c; setfacl -k d
        useradd -m -u 1000 app; groupadd -g 5000 team; usermod -aG team app; echo 'app:secret' | chpasswd
        echo 'app ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/app
        su app -c 'id; sudo -n id; sudo -n -u man id; sudo -n touch /root/by-sudo; sudo -n -u man touch /tmp/by-man
            setcap cap_chown+ep /tmp/by-man; capsh --has-p=cap_chown || echo none; getcap /usr/bin/wall
            mkdir ~/q; cd ~/q; touch 1 2 3; chmod 4711 2; chmod 0 3; ln 1 4; ln -s 1 5; chgrp team 1; chown root 2'
        setpriv --reuid app --regid app --init-groups --inh-caps=+chown --ambient-caps=+chown sh -c \\
            'touch /tmp/ambient; chown 44 /tmp/ambient; setpriv --dump'
        perl -e '$> = 33; open F, ">/tmp/e33"; $> = 0; open F, ">/tmp/e0"; $< = $> = 33; $> = 0; print "$< $>\\n"'
        ls -ln /root /tmp /home/app/q | awk '{print $1, $2, $3, $4, $NF}'
        ls -l /usr/bin/ssh-agent /usr/bin/sudo /etc/sudoers /etc/shadow | awk '{print $1, $3, $4, $NF}'""",
    "postgresql, with peer authentication": QUIET + """postgresql postgresql-client || exit 9
        bin=$(echo /usr/lib/postgresql/*/bin) data=$(echo /var/lib/postgresql/*/main); pg_lsclusters -h
        su postgres -c "$bin/pg_ctl -w -l /tmp/pg.log -D $data start \\
            -o '-c config_file=$(echo /etc/postgresql/*/main/postgresql.conf)'" | tail -1
        su postgres -c 'psql -Atc "select current_user, 6 * 7"; createuser app'
        useradd -u 1000 app; su app -c 'psql -d postgres -Atc "select current_user"'
        psql -d postgres -Atc 'select 1' 2>&1 | grep -o 'role "root" does not exist'
        su app -c 'psql -d postgres -U postgres -Atc "select 1"' 2>&1 | grep -o 'Peer authentication failed'
        su postgres -c "$bin/pg_ctl -w -D $data stop" | tail -1; rm -rf /tmp/*""",
}


class Debian(Lab):
    """Today's minimal Debian, unpacked with its owners: on disk for root, in the initial table else."""

    def __init__(self, person: Person) -> None:  # the busybox of its parent is not wanted
        self.person = person
        self.lower = person.home / "lower"
        self.work = person.home / "work"
        self.records = {}
        with tarfile.open(provision.base()) as archive:
            archive.extraction_filter = lambda member, path: member  # ours: trusted
            for member in archive:
                if member.ischr() or member.isblk():
                    continue
                archive.extract(member, self.lower, set_attrs=not member.issym())
                self._give(member)
        for name in ("proc", "sys", "dev"):
            (self.lower / name).mkdir(exist_ok=True)

    def _give(self, member: tarfile.TarInfo) -> None:
        target = self.lower / member.name
        if self.is_root or member.islnk():
            return
        os.chown(target, self.person.uid, self.person.gid, follow_symlinks=False)
        if not member.issym():
            target.chmod(member.mode | 0o700 if member.isdir() else member.mode & 0o1777 | 0o400)
        if member.uid or member.gid or member.isfile() and member.mode & 0o6000:
            self.give(member.name, member.uid, member.gid, None if member.issym() else member.mode)




@pytest.mark.parametrize("name", STEPS)
def test_packages_leave_what_they_leave_for_root(plain_user: Person, root_user: Person, name: str) -> None:
    ran: list[Ran] = []
    images = []
    for person in (plain_user, root_user):
        lab = Debian(person)
        ran.append(lab.sh(STEPS[name], timeout=400))
        images.append(lab.image(ran[-1]))
    ours, roots = ran
    assert (ours.code, ours.out) == (0, roots.out), ours.out + ours.err
    assert ours.err == roots.err
    assert sorted(images[0]) == sorted(images[1])
    differing = {path: (seen, images[1][path]) for path, seen in images[0].items() if seen != images[1][path]}
    assert differing == {}
