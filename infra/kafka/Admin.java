// Users and ACLs of a Kafka with sign-in, all in one go: java -cp "$jars/*" Admin.java <client properties> users|add|exact|list
// Reads lines from standard input. Of users: name password. Of ACLs: principal operation resource-type pattern-type name;
// everything listed is allowed, from any host. Says what it changed; a line that it does not know stops it before it changes anything.

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.utils.SecurityUtils;

public class Admin {
    static final ScramCredentialInfo SCRAM = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096);

    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        try (var file = new FileInputStream(args[0])) {
            properties.load(file);
        }
        properties.put("request.timeout.ms", "10000");
        properties.put("default.api.timeout.ms", "20000");
        var lines = args[1].equals("list") ? List.<String[]>of() : lines();
        var wanted = args[1].equals("add") || args[1].equals("exact") ? lines.stream().map(Admin::acl).collect(Collectors.toSet()) : null;
        try (var admin = AdminClient.create(properties)) {
            switch (args[1]) {
                case "users" -> users(admin, lines);
                case "list" -> acls(admin).stream().map(Admin::shown).sorted().forEach(System.out::println);
                default -> settle(admin, wanted, args[1].equals("exact"));
            }
        } catch (java.util.concurrent.ExecutionException why) {
            stop(why.getCause().getMessage());
        }
    }

    static void users(AdminClient admin, List<String[]> lines) throws Exception {
        var users = new ArrayList<UserScramCredentialAlteration>();
        for (var line : lines) {
            users.add(new UserScramCredentialUpsertion(line[0], SCRAM, line[1]));
        }
        admin.alterUserScramCredentials(users).all().get();
        Runtime.getRuntime().halt(0); // at once: until the files say so too, whoever signs in by them is refused
    }

    static Collection<AclBinding> acls(AdminClient admin) throws Exception {
        return admin.describeAcls(AclBindingFilter.ANY).values().get();
    }

    /** Adds what is missing; then, if asked to, removes what is not wanted. */
    static void settle(AdminClient admin, Collection<AclBinding> wanted, boolean exact) throws Exception {
        var there = acls(admin);
        var missing = wanted.stream().filter(acl -> !there.contains(acl)).toList();
        var other = there.stream().filter(acl -> exact && !wanted.contains(acl)).toList();
        admin.createAcls(missing).all().get();
        admin.deleteAcls(other.stream().map(AclBinding::toFilter).toList()).all().get();
        for (var acl : new TreeSet<>(missing.stream().map(Admin::shown).toList())) System.out.println("+ " + acl);
        for (var acl : new TreeSet<>(other.stream().map(Admin::shown).toList())) System.out.println("- " + acl);
        System.out.println(wanted.size() + " ACLs: " + missing.size() + " added, " + other.size() + " removed");
    }

    /** The words of each line, without empty lines and comments. */
    static List<String[]> lines() throws Exception {
        var lines = new ArrayList<String[]>();
        var input = new BufferedReader(new InputStreamReader(System.in));
        for (var line = input.readLine(); line != null; line = input.readLine()) {
            line = line.replaceFirst("(^|\\s)#.*", "").strip();
            if (!line.isEmpty()) lines.add(line.split("\\s+"));
        }
        return lines;
    }

    static AclBinding acl(String[] words) {
        var line = String.join(" ", words);
        if (words.length != 5) stop("not an ACL: " + line + " (principal operation resource-type pattern-type name)");
        try {
            SecurityUtils.parseKafkaPrincipal(words[0]);
        } catch (IllegalArgumentException why) {
            stop("no principal in: " + line);
        }
        var operation = SecurityUtils.operation(words[1]);
        var type = SecurityUtils.resourceType(words[2]);
        var pattern = PatternType.fromString(words[3]);
        if (operation.isUnknown() || operation == AclOperation.ANY) stop("no operation in: " + line);
        if (type.isUnknown() || type == ResourceType.ANY) stop("no resource type in: " + line);
        if (pattern != PatternType.LITERAL && pattern != PatternType.PREFIXED) stop("LITERAL or PREFIXED in: " + line);
        return new AclBinding(new ResourcePattern(type, words[4], pattern), new AccessControlEntry(words[0], "*", operation, AclPermissionType.ALLOW));
    }

    /** As a line of a file; one that no file can hold as a comment. */
    static String shown(AclBinding acl) {
        var entry = acl.entry();
        var pattern = acl.pattern();
        var line = String.join(" ", entry.principal(), SecurityUtils.operationName(entry.operation()), SecurityUtils.resourceTypeName(pattern.resourceType()), pattern.patternType().name(), pattern.name());
        var ours = entry.permissionType() == AclPermissionType.ALLOW && entry.host().equals("*");
        return ours ? line : "# " + entry.permissionType() + " from " + entry.host() + ": " + line;
    }

    static void stop(String why) {
        System.err.println("kafka: " + why);
        System.exit(1);
    }
}
