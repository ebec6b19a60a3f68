// What a user is told when something fails.

const NOTICES = {
  no_answer: 'No connection. Try again when there is one.',
  phone_declined: 'No number was handed over.',
  rate_limited: 'That was too often. Try again in a minute.',
  user_blocked: 'This account is blocked.',
  unsupported_image: 'Choose a picture, please.',
};

module.exports = ({ code, requestId }) => NOTICES[code] || `Something went wrong (${code || 'in this Mini Program'}${requestId ? `, ${requestId}` : ''}).`;
