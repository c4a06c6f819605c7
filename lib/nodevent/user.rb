# frozen_string_literal: true

module NoDevent
  # Maps users to their ids, as tokens and publications name them.
  # @api private
  module User
    # Limit of the server, in bytes.
    MAX_BYTES = 255

    private_constant :MAX_BYTES

    class << self
      # @param user [String, Symbol, Integer, #id] the user, or its id
      # @param needed_by [String] who needs it, for the error
      # @return [String] the id
      # @raise [ArgumentError] if there is none, or if it is too long
      def id(user, needed_by)
        id = plain?(user) || !user.respond_to?(:id) ? user : user.id
        unless plain?(id)
          raise ArgumentError, "#{needed_by} needs a user whose id is text or a number, not an object of the class " \
                               "#{Reflection.class_of(user)}"
        end

        id = id.to_s.encode(Encoding::UTF_8)
        return id if id.valid_encoding? && id.bytesize.between?(1, MAX_BYTES) && !id.match?(/[[:cntrl:]]/)

        raise ArgumentError, "the id of a user has 1 to #{MAX_BYTES} bytes and no control characters"
      end

      private

      def plain?(id)
        id.is_a?(String) || id.is_a?(Symbol) || id.is_a?(Integer)
      end
    end
  end
end
