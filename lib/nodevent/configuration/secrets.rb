# frozen_string_literal: true

require "nodevent/configuration/secret_file"
require "nodevent/configuration/secret_section"

module NoDevent
  class Configuration
    # Reads what signs and authorizes: `secret`, `secrets` and `publish_key`. A value that was probably not meant is an
    # error, as for the server: it must never be open because of a typing mistake.
    module Secrets
      NAMES = %w[secret secret_file secrets publish_key publish_key_file].freeze
      # Names that differ in more characters are not typos.
      MAX_DISTANCE = 2

      # Sections that have secrets of their own.
      SECTIONS = %w[token hooks pages calls].freeze

      private_constant :NAMES, :MAX_DISTANCE, :SECTIONS

      class << self
        # @param values [Values]
        # @param folder [String] where relative paths begin
        # @return [String, nil] the secret that signs keys: `secret`, or the first of `secrets`
        # @raise [ConfigurationError]
        def secret(values, folder)
          check_place(values)
          secret = one(values, folder, "secret") || first(values, folder)
          open = values.flag("open")
          if secret && open
            values.invalid!(values.node("secret") || values.node("secret_file") || values.node("secrets"), "secret",
                            "is there, and `open: true` too; delete one of them")
          end
          check_misspelt(values) unless secret || open || values.node("token")
          secret
        end

        # @param values [Values]
        # @param folder see {secret}
        # @return [String, nil] the key that authorizes publishing over HTTP
        # @raise [ConfigurationError]
        def publish_key(values, folder)
          one(values, folder, "publish_key")
        end

        # @param values [Values]
        # @param folder see {secret}
        # @return [String, nil] the secret that signs the requests of hooks
        # @raise [ConfigurationError]
        def hooks(values, folder)
          keys = values.mapping("hooks")
          of_section(SecretSection.new(values, keys, "hooks"), folder) unless keys.empty?
        end

        # @param section [SecretSection] a section whose keys are `secret` or `secret_file`
        # @param folder see {secret}
        # @return [String, nil]
        # @raise [ConfigurationError]
        def of_section(section, folder)
          one(section, folder, "secret")
        end

        # @param section the keys of `token`
        # @param folder see {secret}
        # @return [Array] the secret that signs tokens, `secret` or the first of `secrets`, and its id; each may be nil
        # @raise [ConfigurationError]
        def token(section, folder)
          secret = one(section, folder, "secret") and return [secret, nil]
          first = section.node("secrets")&.value
          id = first.first.value["id"] if first.is_a?(Array) && first.first&.value.is_a?(Hash)
          [first(section, folder), (section.text("secrets[0].id", id) if id)]
        end

        private

        # The value of `key`, or the text of the file that `key_file` names.
        def one(values, folder, key)
          file = "#{key}_file"
          written = values.node(key)
          named = values.node(file)
          return text(values, key, written) if named.nil? || (named.value.nil? && named.line.nil?)

          values.invalid!(named, file, "and #{key} are both written; delete one of them") if written
          from_file(values, folder, file, named)
        end

        def from_file(values, folder, key, node)
          SecretFile.read(values.text(key, node), folder)
        rescue ArgumentError => e
          values.invalid!(node, key, "is not usable: #{e.message}; name a file that contains the secret")
        end

        def text(values, key, node = values.node(key))
          text = values.text(key, node) or return

          if text.match?(/\A\$[A-Za-z_]\w*\z/) && !values.variable?(key[/\A\w+/])
            values.invalid!(node, key, "is a variable without braces; write ${NAME}")
          end
          values.invalid!(node, key, "is empty") if text.strip.empty?
          if text.match?(/\A\s|\s\z|[[:cntrl:]]/)
            values.invalid!(node, key, "begins or ends with white space, or contains a line break or a tab")
          end
          text
        end

        def first(values, folder)
          list = values.node("secrets")
          return if list.nil? || (list.value.nil? && list.line.nil?)

          unless list.value.is_a?(Array)
            values.invalid!(list, "secrets", "is not a list like [{id: new, secret: …}, {id: old, secret: …}]")
          end
          values.invalid!(list, "secrets", "is empty") if list.value.empty?
          first = list.value.first
          if first.value.is_a?(Hash)
            file = first.value["secret_file"]
            return from_file(values, folder, "secrets[0].secret_file", file) if file

            first = first.value["secret"]
          end
          text(values, "secrets[0].secret", first) || values.invalid!(list, "secrets[0]", "has no secret")
        end

        # Which of several namespaces would a secret at the top belong to?
        def check_place(values)
          return if values.sections.size < 2 || values.top["namespace"]

          key = NAMES.find { |name| values.top.key?(name) } or return
          values.invalid!(values.top[key], key, "is at the top of the file, which has several namespaces; move it " \
                                                "below one of them")
        end

        def check_misspelt(values)
          [values.own, values.top].each do |keys|
            keys.each { |name, node| check_key(values, name, node) }
          end
        end

        def check_key(values, name, node)
          return if NAMES.include?(name) || SECTIONS.include?(name) || name.start_with?("/")

          if node.value.is_a?(Hash) && !(node.value.keys & NAMES).empty?
            name = Tree.shown_key(name)
            values.invalid!(key_of(node), name, "looks like a namespace without its slash; write `/#{name}:`")
          end
          meant = NAMES.find { |known| close?(known, name) } or return
          values.invalid!(key_of(node), name, "is unknown; did you mean `#{meant}`?")
        end

        def key_of(node)
          Tree::Node.new(**(node.key || {}))
        end

        def close?(known, name)
          (name.size - known.size).abs <= MAX_DISTANCE && distance(known, name.downcase) <= MAX_DISTANCE
        end

        # Levenshtein's, one row at a time.
        def distance(one, other)
          row = (0..other.size).to_a
          one.each_char.with_index(1) do |char, index|
            before = row[0]
            row[0] = index
            other.each_char.with_index(1) do |letter, column|
              before, row[column] = row[column],
                                    [row[column] + 1, row[column - 1] + 1, before + (char == letter ? 0 : 1)].min
            end
          end
          row.last
        end
      end
    end
  end
end
