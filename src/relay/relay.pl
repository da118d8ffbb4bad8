# netproxy's UDP relay, run by perl where there is no python3: what relay.py says of itself holds here. Before
# this text stands a line that declares $AGE (ms), $QUEUE (bytes), $SILENCE (s), $FLOWS and $BUFFER (bytes).
# Only what Debian's perl-base has is used.
use strict;
use warnings;
use Errno qw(:POSIX);
use Fcntl qw(F_GETFL F_SETFL O_NONBLOCK);
use POSIX ();
use Socket;

my $LINUX = $^O eq 'linux';
# linux/in.h, linux/in6.h, by level: IP_RECVERR, IP_MTU_DISCOVER and IP_MTU, and those of IPv6.
my %OPTION = (4 => [0, 11, 10, 14], 6 => [41, 25, 23, 24]);
my $MSG_ERRQUEUE = 0x2000;
my %CODE = (
    ECONNREFUSED, 1, EHOSTUNREACH, 2, EHOSTDOWN, 2, ETIMEDOUT, 2, ENETUNREACH, 3, ENETDOWN, 3,
    EADDRNOTAVAIL, 3, EAFNOSUPPORT, 3, EINVAL, 3, EACCES, 4, EPERM, 4, EMSGSIZE, 5,
);

# times(2) never goes back; POSIX has no other clock in every Perl.
my $TICKS = POSIX::sysconf(POSIX::_SC_CLK_TCK()) || 100;
sub clock { int((POSIX::times())[0] * 1000 / $TICKS) & 0xffffffff }

sub make {
    my ($kind) = @_;
    my $six = $kind & 2;
    my $protocol = $kind & 0x10 ? ($six ? 58 : 1) : 0;
    socket(my $made, $six ? AF_INET6 : AF_INET, SOCK_DGRAM, $protocol) or return;
    nonblocking($made);
    setsockopt($made, SOL_SOCKET, SO_RCVBUF, $BUFFER);
    my ($level, $errors) = @{ $OPTION{ $six ? 6 : 4 } };
    setsockopt($made, $level, $errors, 1) if $LINUX;
    return $made;
}

sub nonblocking { fcntl($_[0], F_SETFL, fcntl($_[0], F_GETFL, 0) | O_NONBLOCK) }

# Flows by number, [number, kind, socket, whole], and by descriptor.
my (%flows, @sockets);
my ($reads, $rest) = ('', '');
# What waits for stdout: [time, bytes, datagrams]; and what is being written.
my (@waiting, $bytes, $head);
my ($news, $answers, $dropped, $late) = ('', 0, 0, 0);
$bytes = 0;
$head = '';

# How much later than the fastest of the last minutes something came. Clocks drift, so that is forgotten.
my ($least, $before, $since) = (undef, undef, 0);

sub delay {
    my ($sent) = @_;
    my $now = clock();
    my $took = ($now - $sent) & 0xffffffff;
    $took -= 4294967296 if $took >= 0x80000000;
    ($before, $least, $since) = ($least, $took, $now)
        if !defined $least || (($now - $since) & 0xffffffff) > 300000;
    $least = $took if $took < $least;
    return $took - (defined $before && $before < $least ? $before : $least);
}

sub bad { exit 65 }

sub failure {
    my ($number, $code, $mtu) = @_;
    $mtu = 65535 if $mtu > 65535;
    $news .= pack 'n C N C n', 8, 69, $number, $code, $mtu;
}

sub drain {
    my ($flow) = @_;
    return unless $LINUX;
    1 while defined recv($flow->[2], my $message, 512, $MSG_ERRQUEUE);
}

sub failed {
    my ($flow, $error) = @_;
    my ($code, $mtu) = ($CODE{$error} || 6, 0);
    if ($LINUX && $code == 5) {
        my ($level, undef, undef, $name) = @{ $OPTION{ $flow->[1] & 2 ? 6 : 4 } };
        my $value = getsockopt($flow->[2], $level, $name);
        $mtu = unpack 'i', $value if defined $value;
    }
    drain($flow);
    failure($flow->[0], $code, $mtu);
}

sub open_flow {
    my ($number, $kind, $port, $address) = @_;
    my $six = $kind & 2;
    bad() unless $kind =~ /^(?:4|6|20|22)$/ && length $address == ($six ? 16 : 4);
    close_flow($number);
    return failure($number, 6, 0) if keys %flows >= $FLOWS;
    my $made = make($kind);
    my $to = $six ? Socket::pack_sockaddr_in6($port, $address) : pack_sockaddr_in($port, $address);
    if (!$made || !connect $made, $to) {
        return failure($number, $CODE{ $! + 0 } || 6, 0);
    }
    my $flow = [$number, $kind, $made, -1];
    $flows{$number} = $sockets[fileno $made] = $flow;
    vec($reads, fileno $made, 1) = 1;
}

sub close_flow {
    my $flow = delete $flows{ $_[0] } or return;
    my $at = fileno $flow->[2];
    $sockets[$at] = undef;
    vec($reads, $at, 1) = 0;
    close $flow->[2];
}

sub send_to {
    my ($flow, $flags, $payload) = @_;
    my $six = $flow->[1] & 2;
    if ($flow->[1] & 0x10) {
        return if length $payload < 2;
        $payload = pack('C6', $six ? 128 : 8, 0, 0, 0, 0, 0) . $payload;
    }
    elsif ($LINUX && $flow->[3] != ($flags & 1)) {
        # IP_PMTUDISC_DO or IP_PMTUDISC_DONT.
        my ($level, undef, $discover) = @{ $OPTION{ $six ? 6 : 4 } };
        setsockopt($flow->[2], $level, $discover, $flags & 1 ? 2 : 0);
        $flow->[3] = $flags & 1;
    }
    # The first error may be that of a datagram before, and this one was not sent.
    for (1, 2) {
        return if defined send $flow->[2], $payload, 0;
        my $error = $! + 0;
        if ($error == EAGAIN) { $dropped++; return }
        failed($flow, $error);
        return if $error == EMSGSIZE;
    }
}

sub read_input {
    my $got = sysread STDIN, $rest, 262144, length $rest;
    return if !defined $got && ($! == EAGAIN || $! == EINTR);
    exit 0 unless $got;
    my ($at, $end) = (0, length $rest);
    while ($end - $at >= 3) {
        my ($size, $kind) = unpack "\@$at n C", $rest;
        bad() if $size < 5;
        my $stop = $at + 2 + $size;
        last if $stop > $end;
        my $number = unpack 'N', substr $rest, $at + 3, 4;
        if ($kind == 68 && $size >= 6) {
            my $flow = $flows{$number};
            if ($late) { $dropped++ }
            elsif ($flow) {
                send_to($flow, ord substr($rest, $at + 7, 1), substr($rest, $at + 8, $stop - $at - 8));
            }
        }
        elsif ($kind == 84) { $late = delay($number) > $AGE }
        elsif ($kind == 79 && $size >= 8) {
            my ($what, $port) = unpack 'C n', substr $rest, $at + 7, 3;
            open_flow($number, $what, $port, substr $rest, $at + 10, $stop - $at - 10);
        }
        elsif ($kind == 67) { close_flow($number) }
        else { bad() }
        $at = $stop;
    }
    substr($rest, 0, $at) = '';
}

sub receive {
    my ($flow) = @_;
    for (1 .. 64) {
        if (!defined recv $flow->[2], my $data, 65535, 0) {
            my $error = $! + 0;
            return drain($flow) if $error == EAGAIN;
            failed($flow, $error);
            next;
        }
        else {
            if ($flow->[1] & 0x10) {
                next if length $data < 8 || ord $data != ($flow->[1] & 2 ? 129 : 0);
                substr($data, 0, 6) = '';
            }
            $news .= pack('n C N', length($data) + 5, 68, $flow->[0]) . $data;
            $answers++;
        }
    }
}

sub age {
    my $now = clock();
    while (@waiting && ($bytes > $QUEUE || (($now - $waiting[0][0]) & 0xffffffff) > $AGE)) {
        return if $waiting[0][2] == 0 && $bytes <= $QUEUE;
        my $oldest = shift @waiting;
        $bytes -= length $oldest->[1];
        $dropped += $oldest->[2];
    }
}

# True when stdout takes no more.
sub write_output {
    while (1) {
        if ($head eq '') {
            age();
            my $next = shift @waiting or return 0;
            $bytes -= length $next->[1];
            $head = pack('n C N N', 9, 84, clock(), $dropped & 0xffffffff) . $next->[1];
        }
        my $took = syswrite STDOUT, $head;
        if (!defined $took) {
            return 1 if $! == EAGAIN || $! == EINTR;
            exit 0;
        }
        substr($head, 0, $took) = '';
    }
}

$SIG{PIPE} = 'IGNORE';
nonblocking($_) for \*STDIN, \*STDOUT;
vec($reads, 0, 1) = 1;
my $most = POSIX::sysconf(POSIX::_SC_OPEN_MAX()) || 256;
$FLOWS = $most - 32 if $FLOWS > $most - 32;
my $can = 0;
for ([4, 1], [6, 2], $LINUX ? ([0x14, 4], [0x16, 8]) : ()) { $can |= $_->[1] if make($_->[0]) }
$head = "\0netproxy\r\n" . pack 'n C C n C', 5, 72, 1, $FLOWS, $can;
my $blocked = write_output();
my $heard = clock();
while ((clock() - $heard & 0xffffffff) <= $SILENCE * 1000) {
    my $writes = '';
    vec($writes, 1, 1) = 1 if $blocked;
    my $ready = select my $readable = $reads, my $writable = $writes, undef, $SILENCE / 4;
    next if $ready <= 0;
    for my $at (1 .. 8 * length($readable) - 1) {
        receive($sockets[$at]) if vec($readable, $at, 1) && $sockets[$at];
    }
    if (vec $readable, 0, 1) {
        $heard = clock();
        read_input();
    }
    if ($news ne '') {
        push @waiting, [clock(), $news, $answers];
        $bytes += length $news;
        ($news, $answers) = ('', 0);
    }
    $blocked = write_output();
}
exit 0;
